"""A to-do API whose users come from an auth server."""
