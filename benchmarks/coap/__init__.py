"""The CoAP server against libcoap, node-coap and plain aiocoap: `python -m benchmarks.coap`."""
