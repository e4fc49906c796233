"""The installed package in a virtual machine with Debian's kernel and real bluetoothd.

`make system-test` runs it. Bluetooth devices and 802.15.4 nodes live outside, on this machine; the
guest reaches them through a virtual controller and a USB serial stick.
"""
