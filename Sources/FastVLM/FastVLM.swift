// The FastVLM room.
