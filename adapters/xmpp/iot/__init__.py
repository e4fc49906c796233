"""The dialect of the IoTGateway family: sensor data, events and control of nodes, by request."""
