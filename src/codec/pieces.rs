//! Envelopes of values that are too large to hold their bytes.
//!
//! What it promises: the same bytes as [`super::seal`], a piece at a time, with a rest after each. What it must not do: hold
//! more than one piece. Tested below.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::Format;
use super::envelope::header;
use super::plain::encode_into;

/// What is held at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Seals a value that is too large to hold its bytes: they are written in pieces, and to know what the header says the
/// value is encoded twice. `rest` is called after each piece of either.
///
/// # Errors
/// Those of `writer`, and [`super::CodecError::Unencodable`] in the error if the type's own serialization refuses.
pub fn seal_into<T: Serialize + ?Sized>(
    format: Format,
    value: &T,
    writer: &mut dyn Write,
    rest: &dyn Fn(),
) -> io::Result<()> {
    let mut measured = Measured::default();
    in_pieces(value, &mut measured, rest)?;
    let Measured { bytes, checksum } = measured;
    let length = usize::try_from(bytes).expect("a body is written by a machine that can address it");
    let header = header(format, bytes, |before| crc32c::crc32c_combine(before, checksum, length));
    writer.write_all(&header)?;
    in_pieces(value, writer, rest)
}

fn in_pieces<T: Serialize + ?Sized>(value: &T, writer: &mut dyn Write, rest: &dyn Fn()) -> io::Result<()> {
    let mut pieces = BufWriter::with_capacity(PIECE_BYTES, Resting { writer, rest });
    encode_into(&mut pieces, value)?;
    pieces.flush()
}

/// A writer that rests after each piece.
struct Resting<'a> {
    writer: &'a mut dyn Write,
    rest: &'a dyn Fn(),
}

impl Write for Resting<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(piece)?;
        (self.rest)();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A body of which only length and CRC32C are kept.
#[derive(Debug, Default)]
struct Measured {
    bytes: u64,
    checksum: u32,
}

impl Write for Measured {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes += piece.len() as u64;
        self.checksum = crc32c::crc32c_append(self.checksum, piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::codec::seal;

    const EXAMPLE: Format = Format { magic: *b"SKex", version: 2 };

    #[test]
    fn what_is_sealed_in_pieces_is_what_is_sealed_at_once() {
        for length in [0, 1, 300_000] {
            let value = ("ab", vec![300_u16; length]);
            let mut written = Vec::new();
            seal_into(EXAMPLE, &value, &mut written, &|| ()).unwrap();
            assert_eq!(written, seal(EXAMPLE, &value).unwrap());
        }
    }

    #[test]
    fn there_is_a_rest_after_each_piece_that_is_measured_or_written() {
        let (rests, mut written) = (Cell::new(0), Vec::new());
        seal_into(EXAMPLE, &vec![1_u8; 3 * PIECE_BYTES], &mut written, &|| rests.set(rests.get() + 1))
            .unwrap();
        assert!((6..=8).contains(&rests.get()), "{} rests for three pieces, written twice", rests.get());
    }

    #[test]
    fn an_error_of_the_writer_is_passed_on() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _piece: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = seal_into(EXAMPLE, &"body", &mut Full, &|| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
