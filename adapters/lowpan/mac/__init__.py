"""The 802.15.4 MAC: frames, link security, duplicates and replays. Pure: time is an argument."""
