//! A look at the first directory of a TIFF before the decoder has one: the decoder allocates whatever a tag's count says, up to 256 MiB,
//! and can be given limits only once it has read that directory.

use std::io::{Read, Result, Seek, SeekFrom};

/// Tags from here on are private; the decoder does not read their values.
const PRIVATE: u64 = 32_768;
const CLASSIC: u64 = 42;
const BIG: u64 = 43;

/// A tag of the first directory whose values the file of `n_bytes` cannot hold, and their number. `None` if there is none, or where the
/// file is no TIFF or ends too early, which the decoder then says.
pub(super) fn impossible_tag(file: &mut (impl Read + Seek), n_bytes: u64) -> Option<(u64, u64)> {
    look(file, n_bytes).ok().flatten()
}

fn look(file: &mut (impl Read + Seek), n_bytes: u64) -> Result<Option<(u64, u64)>> {
    let mut order = [0; 2];
    file.read_exact(&mut order)?;
    let number = |file: &mut dyn Read, size: usize| -> Result<u64> {
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes[..size])?;
        if order == *b"MM" {
            bytes[..size].reverse();
        }
        Ok(u64::from_le_bytes(bytes))
    };
    // Sizes of an offset and of the number of entries.
    let (offset_size, n_entries_size) = match number(file, 2)? {
        CLASSIC => (4, 2),
        BIG => {
            number(file, 4)?;
            (8, 8)
        }
        _ => return Ok(None),
    };
    let directory = number(file, offset_size)?;
    file.seek(SeekFrom::Start(directory))?;
    for _ in 0..number(file, n_entries_size)? {
        let (tag, kind, count) = (number(file, 2)?, number(file, 2)?, number(file, offset_size)?);
        number(file, offset_size)?;
        if tag < PRIVATE && count.saturating_mul(size_of(kind)) > n_bytes {
            return Ok(Some((tag, count)));
        }
    }
    Ok(None)
}

/// Bytes of a value by its type (TIFF 6.0, page 15; BigTIFF); 0 for unknown types, which the decoder does not read.
fn size_of(kind: u64) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::impossible_tag;
    use std::io::Cursor;

    fn look(bytes: &[u8]) -> Option<(u64, u64)> {
        impossible_tag(&mut Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn counts_beyond_the_file_are_found_in_both_byte_orders_and_both_formats() {
        let little = b"II\x2a\0\x08\0\0\0\x01\0\x01\x01\x03\0\xff\0\0\0\x08\0\0\0\0\0\0\0";
        assert_eq!(look(little), Some((257, 255)));
        let big_endian = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x01\0\x03\0\0\0\xff\0\0\0\x08\0\0\0\0";
        assert_eq!(look(big_endian), Some((257, 255)));
        let big = b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x01\x10\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0";
        assert_eq!(look(big), Some((257, u64::MAX)));
    }

    #[test]
    fn what_is_possible_private_or_no_tiff_is_left_to_the_decoder() {
        let mut little = b"II\x2a\0\x08\0\0\0\x01\0\x01\x01\x03\0\x02\0\0\0\x08\0\0\0\0\0\0\0".to_vec();
        assert_eq!(look(&little), None);
        little[14] = 0xff;
        little[11] = 0x90;
        assert_eq!(look(&little), None);
        assert!(look(b"").is_none() && look(b"PNG").is_none() && look(b"II\x2a\0\xff\xff\xff\xff").is_none());
    }
}
