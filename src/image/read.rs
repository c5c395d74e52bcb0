//! Reading pictures: PNG, JPEG and TIFF (stacks too) into grey intensities as stored.
//!
//! Colours become luminance by Rec. 601 (0.299 R + 0.587 G + 0.114 B), which is what ImageJ's *Weighted RGB conversions* does; a
//! grey picture stored as RGB keeps its values exactly. Alpha is ignored. A header that promises more than the limits below, or
//! more than a file of this length can hold, is refused before anything of that size is allocated.

use super::tiff_page::{self, Meaning, Patched};
use super::{Gray, directory};
use crate::error::{Error, ErrorKind, Result};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

/// The longest side of a picture in pixels.
const SIDE_MAX: u32 = 65_536;
/// The most bytes that one decoded page may take; a pixel takes at least 4, as f32.
const PAGE_BYTES_MAX: usize = 1 << 30;
/// No format packs pixels tighter than this: Deflate reaches 1,032 : 1, LZW 1,350 : 1, JPEG 1,365 : 1.
const MOST_PACKED: u64 = 2048;
/// Files that claim no more bytes of pixels than this may claim them, however short they are.
const ALWAYS_ALLOWED: u64 = 1 << 20;
/// The same for a page of a stack, which may have many.
const ALWAYS_ALLOWED_PAGE: u64 = 1 << 12;
/// The most pages of a stack.
const PAGES_MAX: usize = 65_536;

/// File name extensions (lower case) of the pictures that can be read.
pub const EXTENSIONS: [&str; 5] = ["png", "tif", "tiff", "jpg", "jpeg"];

/// Whether the file's name says that it is a picture which can be read. Hidden files (`._x.tif`) are not.
pub fn is_picture(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    !name.starts_with('.') && extension(path).is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Number of pages of a picture; 1 for whatever is no TIFF. Reads headers only.
///
/// # Errors
/// If the file cannot be read or is no picture.
pub fn page_count(path: &Path) -> Result<usize> {
    if !is_tiff(path) {
        open(path)?;
        return Ok(1);
    }
    let mut decoder = tiff_decoder(path)?;
    let mut n_pages = 1;
    while decoder.more_images() && n_pages < PAGES_MAX {
        decoder.next_image().map_err(|e| broken(path, "the next page of a TIFF", e))?;
        n_pages += 1;
    }
    Ok(n_pages)
}

/// Width and height of a picture's first page. Reads headers only.
///
/// # Errors
/// If the file cannot be read or is no picture.
pub fn size(path: &Path) -> Result<[usize; 2]> {
    let (width, height) = if is_tiff(path) {
        tiff_decoder(path)?.dimensions().map_err(|e| broken(path, "a TIFF header", e))?
    } else {
        let reader = ImageReader::new(BufReader::new(open(path)?)).with_guessed_format();
        let reader = reader.map_err(|e| broken(path, "a picture", e))?;
        reader.into_dimensions().map_err(|e| broken(path, "a picture's header", e))?
    };
    Ok([width as usize, height as usize])
}

/// Reads a picture; of a stack its first page.
///
/// # Errors
/// If the file cannot be read, is no picture, or claims to be larger than 65,536 pixels a side, 1 GiB a page, or what a file of its
/// length can hold.
pub fn read(path: &Path) -> Result<Gray> {
    if is_tiff(path) {
        read_tiff_page(path, &mut tiff_decoder(path)?, 0, Meaning::Intensities, &mut file_bytes(path)?)
    } else {
        decode_image(path).and_then(|i| luminance(path, &i))
    }
}

/// Reads every page of a TIFF (one page of any other picture). A page that is broken is an error in its place; what follows a
/// broken link between pages is lost, which the last error says.
///
/// # Errors
/// If the file cannot be opened or is no picture.
pub fn read_pages(path: &Path) -> Result<Vec<Result<Gray>>> {
    if !is_tiff(path) {
        return Ok(vec![Ok(read(path)?)]);
    }
    read_tiff_pages(path, Meaning::Intensities)
}

fn read_tiff_pages(path: &Path, meaning: Meaning) -> Result<Vec<Result<Gray>>> {
    let mut decoder = tiff_decoder(path)?;
    let mut unclaimed = file_bytes(path)?;
    let mut pages = vec![read_tiff_page(path, &mut decoder, 0, meaning, &mut unclaimed)];
    while decoder.more_images() && pages.len() < PAGES_MAX {
        match decoder.next_image() {
            Ok(()) => pages.push(read_tiff_page(path, &mut decoder, pages.len(), meaning, &mut unclaimed)),
            Err(e) => {
                pages.push(Err(broken(path, &format!("page {} of a TIFF", pages.len() + 1), e)));
                break;
            }
        }
    }
    Ok(pages)
}

/// Reads a mask picture: the numbers as stored, row by row. Of a palette these are the indices (not the colours), of a TIFF whose 0 is
/// white (ImageJ's inverting look-up table) what is stored (not what is shown).
///
/// # Errors
/// As for [`read`].
pub fn read_labels(path: &Path) -> Result<Vec<Result<Gray>>> {
    if is_tiff(path) {
        return read_tiff_pages(path, Meaning::Labels);
    }
    if extension(path).as_deref() != Some("png") {
        return read_pages(path);
    }
    let limits = png::Limits { bytes: PAGE_BYTES_MAX };
    let mut decoder = png::Decoder::new_with_limits(BufReader::new(open(path)?), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|e| broken(path, "a PNG", e))?;
    let (color, depth) = reader.output_color_type();
    if color != png::ColorType::Indexed {
        return read_pages(path);
    }
    let (width, height) = (reader.info().width, reader.info().height);
    check_size(path, width, height, 1)?;
    check_packed(path, [width, height], depth as usize, file_bytes(path)?, ALWAYS_ALLOWED)?;
    let (width, height) = (width as usize, height as usize);
    let row_bytes = reader.output_line_size(width as u32).unwrap_or(width);
    let mut bytes = vec![0; row_bytes * height];
    reader.next_frame(&mut bytes).map_err(|e| broken(path, "a PNG", e))?;
    let bits = depth as usize;
    let index = |x: usize, row: &[u8]| (row[x * bits / 8] >> (8 - bits - x * bits % 8)) & (0xffu8 >> (8 - bits));
    let pixels = bytes.chunks_exact(row_bytes).flat_map(|row| (0..width).map(move |x| f32::from(index(x, row))));
    Ok(vec![Ok(Gray::new(width, height, pixels.collect()))])
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|e| e.to_string_lossy().to_lowercase())
}

fn is_tiff(path: &Path) -> bool {
    matches!(extension(path).as_deref(), Some("tif" | "tiff"))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io(ErrorKind::Data, path, "open the picture", e))
}

fn broken(path: &Path, what: &str, cause: impl std::fmt::Display) -> Error {
    Error::data(path, format!("expected {what}, but it cannot be read: {cause}"))
        .remedy("open the file in Fiji; if it opens there, save it again as TIFF or PNG, else restore it from a backup")
}

fn file_bytes(path: &Path) -> Result<u64> {
    std::fs::metadata(path).map(|m| m.len()).map_err(|e| Error::io(ErrorKind::Data, path, "open the picture", e))
}

/// Refuses sizes that no picture of ours has, before anything is allocated.
fn check_size(path: &Path, width: u32, height: u32, bytes_per_pixel: usize) -> Result<()> {
    let n_bytes = (width as usize).saturating_mul(height as usize).saturating_mul(bytes_per_pixel.max(4));
    if width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX || n_bytes > PAGE_BYTES_MAX {
        let expected = format!("expected a picture of 1 to {SIDE_MAX} pixels a side and at most {} MiB", PAGE_BYTES_MAX >> 20);
        return Err(Error::data(path, format!("{expected}, found a header that says {width} x {height}"))
            .remedy("the file is damaged or no picture of a series; restore it or take it out of the folder"));
    }
    Ok(())
}

/// Refuses more pixels than `n_packed` bytes of a file can hold: a file of a kilobyte must not cost gigabytes.
fn check_packed(path: &Path, [width, height]: [u32; 2], bits_per_pixel: usize, n_packed: u64, allowed: u64) -> Result<()> {
    let n_bytes = (u64::from(width) * u64::from(height)).saturating_mul(bits_per_pixel as u64) / 8;
    if n_bytes <= n_packed.saturating_mul(MOST_PACKED).max(allowed) {
        return Ok(());
    }
    let message = format!("the header says {width} x {height} pixels, which {n_packed} bytes of file cannot hold");
    Err(Error::data(path, message).remedy("the file is damaged or was cut off while it was copied; copy it again"))
}

fn decode_image(path: &Path) -> Result<DynamicImage> {
    let what = "a PNG or JPEG picture";
    let reader = ImageReader::new(BufReader::new(open(path)?)).with_guessed_format();
    let mut reader = reader.map_err(|e| broken(path, what, e))?;
    let mut limits = Limits::default();
    // The sides are checked below, with an error of our own.
    (limits.max_image_width, limits.max_image_height) = (None, None);
    limits.max_alloc = Some(PAGE_BYTES_MAX as u64);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| broken(path, what, e))?;
    let (width, height) = decoder.dimensions();
    check_size(path, width, height, usize::from(decoder.color_type().bytes_per_pixel()))?;
    let bits = png_bits(path).unwrap_or_else(|| usize::from(decoder.color_type().bits_per_pixel()));
    check_packed(path, [width, height], bits, file_bytes(path)?, ALWAYS_ALLOWED)?;
    check_palette(path)?;
    DynamicImage::from_decoder(decoder).map_err(|e| broken(path, what, e))
}

/// Refuses a PNG's palette that is not made of whole colours (PNG 1.2, 4.1.2), on which png 0.18 panics.
fn check_palette(path: &Path) -> Result<()> {
    let mut file = BufReader::new(open(path)?);
    let mut signature = [0; 8];
    if file.read_exact(&mut signature).is_err() || &signature != b"\x89PNG\r\n\x1a\n" {
        return Ok(());
    }
    let mut chunk = [0; 8];
    // Where the file ends too early the decoder says so.
    while file.read_exact(&mut chunk).is_ok() && !chunk.ends_with(b"IDAT") {
        let length = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        if chunk.ends_with(b"PLTE") && (!length.is_multiple_of(3) || length > 3 * 256) {
            return Err(broken(path, "a PNG picture", format!("its palette of {length} bytes is not made of up to 256 colours")));
        }
        if file.seek_relative(i64::from(length) + 4).is_err() {
            break;
        }
    }
    Ok(())
}

/// Bits of a pixel as a PNG's header says (PNG 1.2, 11.2.2), where the decoder gives whole bytes; `None` if it is no PNG.
fn png_bits(path: &Path) -> Option<usize> {
    let mut header = [0; 26];
    open(path).ok()?.read_exact(&mut header).ok()?;
    let samples = match header[25] {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    header.starts_with(b"\x89PNG").then_some(usize::from(header[24]) * samples)
}

/// Grey intensities of a decoded picture at its own depth.
fn luminance(path: &Path, picture: &DynamicImage) -> Result<Gray> {
    let (width, height) = (picture.width(), picture.height());
    check_size(path, width, height, 4)?;
    let n_samples = picture.color().channel_count() as usize;
    let samples: Vec<f32> = match picture.color().bytes_per_pixel() as usize / n_samples {
        1 => picture.as_bytes().iter().map(|&v| f32::from(v)).collect(),
        2 => picture.as_bytes().as_chunks::<2>().0.iter().map(|&v| f32::from(u16::from_ne_bytes(v))).collect(),
        _ => picture.to_rgb32f().into_raw(),
    };
    let n_samples = samples.len() / (width as usize * height as usize);
    Ok(Gray::new(width as usize, height as usize, gray_of(samples, n_samples)))
}

/// Interleaved samples to grey: 1 (grey), 2 (grey and alpha), 3 or 4 (RGB, and alpha or black left aside).
fn gray_of(samples: Vec<f32>, n_samples: usize) -> Vec<f32> {
    match n_samples {
        0 | 1 => samples,
        2 => samples.into_iter().step_by(2).collect(),
        _ => samples.chunks_exact(n_samples).map(|p| rec601(p[0], p[1], p[2])).collect(),
    }
}

/// Rec. 601 luminance, in thousandths so that equal channels give exactly their value.
fn rec601(r: f32, g: f32, b: f32) -> f32 {
    ((299.0 * f64::from(r) + 587.0 * f64::from(g) + 114.0 * f64::from(b)) / 1000.0) as f32
}

fn tiff_decoder(path: &Path) -> Result<Decoder<Patched<BufReader<File>>>> {
    // A strip or tile may be larger than the picture that it is part of.
    let possible = file_bytes(path)?.saturating_mul(MOST_PACKED).max(ALWAYS_ALLOWED).min(PAGE_BYTES_MAX as u64) as usize;
    let mut limits = tiff::decoder::Limits::default();
    limits.decoding_buffer_size = possible;
    limits.intermediate_buffer_size = possible;
    let mut file = BufReader::new(open(path)?);
    if let Some((tag, count)) = directory::impossible_tag(&mut file, file_bytes(path)?) {
        return Err(broken(path, "a TIFF", format!("its tag {tag} claims {count} values, which the file cannot hold")));
    }
    file.rewind().map_err(|e| Error::io(ErrorKind::Data, path, "read the picture", e))?;
    let file = Patched::new(file);
    let decoder = Decoder::new(file).map_err(|e| broken(path, "a TIFF", e))?;
    Ok(decoder.with_limits(limits))
}

/// The decoder's current page, number `index` of the file, as grey intensities or as labels. `unclaimed` are the bytes of the file that
/// no page before it says to be its own.
fn read_tiff_page<R: Read + Seek>(
    path: &Path,
    decoder: &mut Decoder<Patched<R>>,
    index: usize,
    meaning: Meaning,
    unclaimed: &mut u64,
) -> Result<Gray> {
    let has_palette = tiff_page::take_palette(decoder, index).map_err(|e| broken(path, "a TIFF header", e))?;
    let (width, height) = decoder.dimensions().map_err(|e| broken(path, "a TIFF header", e))?;
    let color = decoder.colortype().map_err(|e| broken(path, "a TIFF header", e))?;
    let bits = usize::from(color.num_samples()) * usize::from(color.bit_depth());
    check_size(path, width, height, bits.div_ceil(8))?;
    let n_packed = claim(path, decoder, unclaimed)?;
    check_packed(path, [width, height], bits, n_packed, ALWAYS_ALLOWED_PAGE)?;
    let page = tiff_page::read(decoder, meaning);
    let page = page.map_err(|e| broken(path, "a TIFF page of 8- or 16-bit grey, RGB or 32-bit float", e))?;
    let (width, height) = (width as usize, height as usize);
    let samples = tiff_page::interleaved(tiff_samples(path, page.data)?, page.n_planes);
    let n_samples = samples.len() / (width * height);
    if samples.len() != width * height * n_samples || n_samples == 0 {
        let message = format!("expected {} pixels, found {} numbers", width * height, samples.len());
        return Err(Error::data(path, message).remedy("save it in Fiji as 8- or 16-bit grey or RGB TIFF"));
    }
    if has_palette && meaning == Meaning::Intensities {
        return Ok(Gray::new(width, height, through_palette(path, decoder, color.bit_depth(), &samples)?));
    }
    if samples.iter().any(|v| !v.is_finite()) {
        return Err(Error::data(path, "expected finite intensities, found NaN or infinity")
            .remedy("in Fiji: Process > Math > NaN Background..., or convert to 16-bit"));
    }
    Ok(Gray::new(width, height, gray_of(samples, n_samples)))
}

/// The bytes that the page's strips or tiles take of the file. They are taken off `unclaimed`: a header may claim strips that the file
/// does not hold, and a thousand pages may claim the same ones.
fn claim<R: Read + Seek>(path: &Path, decoder: &mut Decoder<R>, unclaimed: &mut u64) -> Result<u64> {
    let mut claimed = 0u64;
    for tag in [Tag::StripByteCounts, Tag::TileByteCounts] {
        if let Ok(Some(value)) = decoder.find_tag(tag) {
            claimed = value.into_u64_vec().unwrap_or_default().iter().fold(claimed, |a, &c| a.saturating_add(c));
        }
    }
    *unclaimed = unclaimed.checked_sub(claimed).ok_or_else(|| {
        let message = format!("the header claims {claimed} bytes of pixels, of the file {unclaimed} are left");
        Error::data(path, message).remedy("the file was cut off while it was copied; copy it again")
    })?;
    Ok(claimed)
}

fn tiff_samples(path: &Path, data: DecodingResult) -> Result<Vec<f32>> {
    Ok(match data {
        DecodingResult::U8(v) => v.into_iter().map(f32::from).collect(),
        DecodingResult::I8(v) => v.into_iter().map(f32::from).collect(),
        DecodingResult::U16(v) => v.into_iter().map(f32::from).collect(),
        DecodingResult::I16(v) => v.into_iter().map(f32::from).collect(),
        DecodingResult::U32(v) => v.into_iter().map(|x| x as f32).collect(),
        DecodingResult::F32(v) => v,
        DecodingResult::F64(v) => v.into_iter().map(|x| x as f32).collect(),
        _ => {
            return Err(Error::data(path, "expected 8-, 16- or 32-bit samples, found another type")
                .remedy("in Fiji: Image > Type > 8-bit or 16-bit, then save again"));
        }
    })
}

/// Colours of a palette TIFF (ImageJ writes one for a grey picture with a look-up table): luminance at 8 bits.
fn through_palette<R: Read + Seek>(path: &Path, decoder: &mut Decoder<R>, bits: u8, indices: &[f32]) -> Result<Vec<f32>> {
    let map = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(|e| broken(path, "a palette TIFF's colour map", e))?;
    let n_colors = 1usize << bits.min(16);
    if map.len() != 3 * n_colors {
        let message = format!("expected {} entries in the colour map, found {}", 3 * n_colors, map.len());
        return Err(Error::data(path, message).remedy("in Fiji: Image > Type > 8-bit, then save again"));
    }
    let level = |i: usize| f32::from(map[i] >> 8);
    let gray: Vec<f32> = (0..n_colors).map(|i| rec601(level(i), level(i + n_colors), level(i + 2 * n_colors))).collect();
    Ok(indices.iter().map(|&i| gray[(i as usize).min(n_colors - 1)]).collect())
}
