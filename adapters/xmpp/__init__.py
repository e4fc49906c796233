"""Publishes the devices on an XMPP pubsub service, and answers commands of people and programs."""
