"""The main screen and the dialogs on top of it."""
