"""The tests mirror the packages; a test's name says what users get."""
