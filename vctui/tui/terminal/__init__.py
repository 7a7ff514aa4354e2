"""A terminal in a widget: emulator and keys are pure, session moves bytes, view paints."""
