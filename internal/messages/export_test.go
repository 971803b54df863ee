package messages

// Decode is the typed decode of a parsed request, done anew each time.
var Decode = decodeConversation
