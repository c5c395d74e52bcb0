//! The samples of a TIFF page: all its planes, packed bits spread out, the indices of palettes, and for labels the numbers as stored.
//!
//! The decoder refuses pages with a palette. Their samples are stored like those of grey ones, so [`Patched`] lets it read
//! "grey" where the file says "palette".

use std::io::{Read, Result as IoResult, Seek, SeekFrom};
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::{ByteOrder, Tag};
use tiff::{TiffError, TiffResult};

/// Values of PhotometricInterpretation. Where 0 is white, the decoder inverts.
const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

/// What the numbers of a picture mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Intensities to look at: through the palette, inverted where 0 is white.
    Intensities,
    /// Labels: the numbers as stored. ImageJ's masks have an inverting look-up table: a stored 255 is inside, and shown black.
    Labels,
}

/// A file of which one byte reads otherwise than it is stored.
pub(super) struct Patched<R> {
    file: R,
    position: u64,
    patch: Option<(u64, u8)>,
}

impl<R> Patched<R> {
    pub fn new(file: R) -> Patched<R> {
        Patched { file, position: 0, patch: None }
    }
}

impl<R: Read> Read for Patched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let n = self.file.read(buffer)?;
        if let Some((at, byte)) = self.patch
            && let Some(i) = at.checked_sub(self.position).filter(|i| *i < n as u64)
        {
            buffer[i as usize] = byte;
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl<R: Seek> Seek for Patched<R> {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }

    fn stream_position(&mut self) -> IoResult<u64> {
        Ok(self.position)
    }
}

/// Whether the decoder's current page, number `index` of the file, has a palette; it is then read as grey from here on.
///
/// # Errors
/// If its directory cannot be read.
pub(super) fn take_palette<R: Read + Seek>(decoder: &mut Decoder<Patched<R>>, index: usize) -> TiffResult<bool> {
    if photometric(decoder)? != Some(PALETTE) {
        return Ok(false);
    }
    let Some(directory) = decoder.ifd_pointer() else { return Ok(false) };
    let order = decoder.byte_order();
    let at = photometric_at(decoder.inner(), directory.0, order)?;
    decoder.inner().patch = at.map(|at| (at, BLACK_IS_ZERO as u8));
    decoder.seek_to_image(index)?;
    Ok(true)
}

fn photometric<R: Read + Seek>(decoder: &mut Decoder<R>) -> TiffResult<Option<u16>> {
    decoder.find_tag_unsigned(Tag::PhotometricInterpretation)
}

/// Where the low byte of PhotometricInterpretation lies, in the directory at `directory`. A classic TIFF counts entries in 2 bytes and
/// has entries of 12 (tag, type, count, 4 bytes of value), a BigTIFF in 8 and of 20 (8 bytes of value).
fn photometric_at(file: &mut (impl Read + Seek), directory: u64, order: ByteOrder) -> IoResult<Option<u64>> {
    const SHORT: u64 = 3;
    const BIG_TIFF: u64 = 43;
    let is_big = number_at(file, 2, 2, order)? == BIG_TIFF;
    let (count_bytes, entry_bytes) = if is_big { (8, 20) } else { (2, 12) };
    let n_entries = number_at(file, directory, count_bytes, order)?.min(u64::from(u16::MAX));
    for i in 0..n_entries {
        let at = directory + count_bytes + i * entry_bytes;
        if number_at(file, at, 2, order)? == u64::from(Tag::PhotometricInterpretation.to_u16()) {
            // The type that the standard prescribes.
            let is_short = number_at(file, at + 2, 2, order)? == SHORT;
            let value_at = at + entry_bytes - if is_big { 8 } else { 4 };
            return Ok(is_short.then_some(value_at + u64::from(order == ByteOrder::BigEndian)));
        }
    }
    Ok(None)
}

/// An unsigned number of `n_bytes` at a place of the file.
fn number_at(file: &mut (impl Read + Seek), at: u64, n_bytes: u64, order: ByteOrder) -> IoResult<u64> {
    let mut bytes = [0; 8];
    let used = &mut bytes[..n_bytes as usize];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(used)?;
    if order == ByteOrder::LittleEndian {
        used.reverse();
    }
    Ok(used.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The samples of a page.
pub(super) struct Samples {
    pub data: DecodingResult,
    /// 1: the samples of a pixel lie side by side. More: plane after plane, each of one sample a pixel.
    pub n_planes: usize,
}

/// The decoder's current page.
///
/// # Errors
/// If it cannot be decoded.
pub(super) fn read<R: Read + Seek>(decoder: &mut Decoder<R>, meaning: Meaning) -> TiffResult<Samples> {
    let (width, _) = decoder.dimensions()?;
    let color = decoder.colortype()?;
    let mut data = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut data)?;
    if data.as_buffer(0).as_bytes().len() < layout.complete_len {
        // The decoder leaves planes out that exceed its limits.
        return Err(TiffError::LimitsExceeded);
    }
    if meaning == Meaning::Labels && photometric(decoder)? == Some(WHITE_IS_ZERO) {
        undo_inversion(&mut data);
    }
    if let (DecodingResult::U8(packed), bits @ (1 | 2 | 4)) = (&mut data, usize::from(color.bit_depth())) {
        let in_a_pixel = usize::from(color.num_samples()) / layout.planes.max(1);
        *packed = unpack(packed, width as usize * in_a_pixel, bits);
    }
    Ok(Samples { data, n_planes: layout.planes })
}

/// The decoder's inversion once more, which is its own inverse.
fn undo_inversion(data: &mut DecodingResult) {
    match data {
        DecodingResult::U8(v) => v.iter_mut().for_each(|x| *x = !*x),
        DecodingResult::U16(v) => v.iter_mut().for_each(|x| *x = !*x),
        DecodingResult::U32(v) => v.iter_mut().for_each(|x| *x = !*x),
        DecodingResult::U64(v) => v.iter_mut().for_each(|x| *x = !*x),
        DecodingResult::F32(v) => v.iter_mut().for_each(|x| *x = 1.0 - *x),
        DecodingResult::F64(v) => v.iter_mut().for_each(|x| *x = 1.0 - *x),
        // It refuses to invert other numbers.
        _ => {}
    }
}

/// Rows of `n` numbers of 1, 2 or 4 bits, the first in the highest bits; a row begins with a byte.
fn unpack(packed: &[u8], n: usize, bits: usize) -> Vec<u8> {
    let row_bytes = (n * bits).div_ceil(8).max(1);
    let number = |row: &[u8], i: usize| (row[i * bits / 8] >> (8 - bits - i * bits % 8)) & (0xff >> (8 - bits));
    packed.chunks_exact(row_bytes).flat_map(|row| (0..n).map(move |i| number(row, i))).collect()
}

/// Plane after plane, side by side.
pub(super) fn interleaved(samples: Vec<f32>, n_planes: usize) -> Vec<f32> {
    if n_planes < 2 {
        return samples;
    }
    let n_pixels = samples.len() / n_planes;
    (0..n_pixels * n_planes).map(|i| samples[i % n_planes * n_pixels + i / n_planes]).collect()
}
