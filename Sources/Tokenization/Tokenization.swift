// The Tokenization room.
