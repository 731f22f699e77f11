// The Generation room.
