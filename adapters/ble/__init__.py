"""The BLE adapter: devices with BIPSO or Bluetooth SIG characteristics."""
