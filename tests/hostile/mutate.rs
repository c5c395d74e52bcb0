//! Mutants of good files: a pure function of (seed, name of the format, number of the mutant).

/// SplitMix64 (Steele, Lea and Flood 2014): independent of the project's own random numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, name: &str, number: u64) -> Random {
        // FNV-1a, so that formats do not share their mutations.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut random = Random(seed ^ hash);
        random.0 = random.next() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n` - 1; 0 for `n` = 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What files of a format are mutated from and with.
pub struct Corpus {
    pub files: Vec<Vec<u8>>,
    /// Words of the format, thrown in anywhere. Text formats have some; their numbers are then replaced, too.
    pub words: &'static [&'static str],
}

/// Integers at the edges of their types, and sizes that a reader may believe.
const EXTREMES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    60_000,
    0x0100_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX - 7,
    u64::MAX,
    0xffff_fffe,
];

/// Numbers at the edges, as text.
const NUMBERS: [&str; 18] = [
    "0",
    "1",
    "-1",
    "2",
    "17",
    "255",
    "65536",
    "1000000",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999",
    "1e308",
    "1e-320",
    "-0.0",
    "0.3",
    "1e999",
];

/// The mutant of this number: one file of the corpus, changed one to six times; a text, of which less is left to be read, once or twice.
pub fn mutant(corpus: &Corpus, random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(&corpus.files).clone();
    let longest = corpus.files.iter().map(Vec::len).max().unwrap_or(0);
    let n_changes = if corpus.words.is_empty() { 1 + random.below(3) + random.below(4) } else { 1 + random.below(2) };
    for _ in 0..n_changes {
        change(&mut bytes, corpus, random);
        bytes.truncate(4 * longest + 64);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &Corpus, random: &mut Random) {
    let is_text = !corpus.words.is_empty();
    match random.below(if is_text { 20 } else { 10 }) {
        0 | 1 => {
            let bit = random.below(8);
            set(bytes, random, |b| b ^ (1 << bit));
        }
        2 | 3 => {
            let value = *random.pick(&[0, 0xff, 0x7f, 0x80]);
            set(bytes, random, |_| value);
        }
        4 => bytes.truncate(random.below(bytes.len() + 1)),
        5 => drop(bytes.drain(range(bytes.len(), random))),
        6 => {
            let copy = bytes[range(bytes.len(), random)].to_vec();
            let at = random.below(bytes.len() + 1);
            bytes.splice(at..at, copy);
        }
        7 => {
            let other: &Vec<u8> = random.pick(&corpus.files);
            splice(bytes, other, random);
        }
        8 | 9 => overwrite_integer(bytes, random),
        10..16 => replace_number(bytes, random),
        _ => {
            let at = random.below(bytes.len() + 1);
            bytes.splice(at..at, random.pick(corpus.words).bytes());
        }
    }
}

/// A place in the file: half the time near its start, where the sizes are.
fn place(len: usize, random: &mut Random) -> usize {
    let near = random.below(2) == 0;
    random.below(if near { len.min(128) } else { len })
}

fn set(bytes: &mut [u8], random: &mut Random, f: impl FnOnce(u8) -> u8) {
    let at = place(bytes.len(), random);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = f(*byte);
    }
}

fn range(len: usize, random: &mut Random) -> std::ops::Range<usize> {
    let from = place(len, random).min(len);
    let longest = if random.below(2) == 0 { 16 } else { len };
    from..(from + random.below(longest)).min(len)
}

/// The start of one file and the end of another, cut at the same place or anywhere.
fn splice(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let from = if random.below(2) == 0 { at.min(other.len()) } else { random.below(other.len() + 1) };
    bytes.truncate(at);
    bytes.extend_from_slice(&other[from..]);
}

/// A big- or little-endian integer at a place aligned to its size.
fn overwrite_integer(bytes: &mut [u8], random: &mut Random) {
    let size = *random.pick(&[2, 4, 4, 8]);
    let extreme = random.below(EXTREMES.len() + 2);
    let value = EXTREMES.get(extreme).copied().unwrap_or_else(|| (bytes.len() + extreme - EXTREMES.len()) as u64);
    let at = place(bytes.len(), random) / size * size;
    let Some(target) = bytes.get_mut(at..at + size) else { return };
    match random.below(2) {
        0 => target.copy_from_slice(&value.to_le_bytes()[..size]),
        _ => target.copy_from_slice(&value.to_be_bytes()[8 - size..]),
    }
}

/// A number in a text becomes another one.
fn replace_number(bytes: &mut Vec<u8>, random: &mut Random) {
    let start = random.below(bytes.len());
    let Some(from) = (start..bytes.len()).find(|&i| bytes[i].is_ascii_digit()) else { return };
    let to = (from..bytes.len()).find(|&i| !bytes[i].is_ascii_digit()).unwrap_or(bytes.len());
    bytes.splice(from..to, random.pick(&NUMBERS).bytes());
}

#[test]
fn a_mutant_depends_on_seed_format_and_number_alone() {
    let corpus = Corpus { files: vec![vec![7; 50], (0..90).collect()], words: &["a = "] };
    let of = |seed, name, number| mutant(&corpus, &mut Random::new(seed, name, number));
    assert_eq!(of(1, "x", 5), of(1, "x", 5));
    let differ = (0..100).filter(|&n| of(1, "x", n) != of(2, "x", n) && of(1, "x", n) != of(1, "y", n)).count();
    assert!(differ > 70, "{differ} of 100 mutants differ");
    let changed = (0..100).filter(|&n| !corpus.files.contains(&of(1, "x", n))).count();
    assert!(changed > 70, "{changed} of 100 mutants are no longer the file");
}
