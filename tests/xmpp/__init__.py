"""The XMPP adapter, against a real server where there is one to talk to."""
