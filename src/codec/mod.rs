//! Encoding and decoding with fixed options, inside a versioned and checksummed envelope.
