"""The way of a reading: taken in, stored, worth telling or not, remembered for a while."""
