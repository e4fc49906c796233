"""CoAP between gateway and nodes: aiocoap over the user-space UDP, and what we ask and serve."""
