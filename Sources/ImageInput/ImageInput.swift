// The ImageInput room.
