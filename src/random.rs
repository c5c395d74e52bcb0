//! Philox 4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
//!
//! A stream is addressed, not advanced: key = seed, counter = (epoch, image, purpose, draw). The same address gives the same
//! numbers on every device, whatever the number of threads and after a resume.

use rand::rand_core::TryRng;

/// What a random number is for: the third word of the counter, so that streams never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    Split = 1,
    Order = 2,
    Initialise = 3,
    Geometry = 4,
    Elastic = 5,
    Intensity = 6,
    Noise = 7,
    Synth = 8,
    Bench = 9,
}

/// A stream of random numbers at one address. Implements `rand`'s generator traits.
#[derive(Clone, Debug)]
pub struct Philox {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Philox {
    /// The stream at (`seed`, `epoch`, `image`, `purpose`).
    pub fn new(seed: u64, epoch: u32, image: u32, purpose: Purpose) -> Self {
        let key = [seed as u32, (seed >> 32) as u32];
        Philox { key, counter: [epoch, image, purpose as u32, 0], block: [0; 4], used: 4 }
    }

    /// The next 32 random bits.
    pub fn next_word(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox_block(self.counter, self.key);
            self.counter[3] = self.counter[3].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// A number in [0, 1), with 24 random bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next_word() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// A number in [from, to).
    pub fn range(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * self.uniform()
    }

    /// A standard normal number (Box and Muller 1958), with `libm`'s functions: the same bits on every machine.
    pub fn normal(&mut self) -> f32 {
        let radius = libm::sqrtf(-2.0 * libm::logf(1.0 - self.uniform()));
        radius * libm::cosf(core::f32::consts::TAU * self.uniform())
    }

    /// A whole number in `0 .. n` (Lemire's multiplication, bias below n / 2^32).
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0 && n <= u32::MAX as usize, "a range of {n} numbers");
        ((u64::from(self.next_word()) * n as u64) >> 32) as usize
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// Ten rounds of Philox on one counter.
pub fn philox_block(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// Fills `words` with the stream's words from block `first` on, many blocks at a time: the words that a [`Philox`] at the same
/// address (epoch, image, purpose) would give one by one.
///
/// # Panics
/// If `words` is no whole number of blocks of 4.
pub fn fill_words(seed: u64, address: [u32; 3], first: u32, words: &mut [u32]) {
    assert!(words.len().is_multiple_of(4), "{} words are no whole number of Philox blocks", words.len());
    const LANES: usize = 8;
    for (i, chunk) in words.chunks_mut(4 * LANES).enumerate() {
        let [mut c0, mut c1, mut c2] = address.map(|word| [word; LANES]);
        let mut c3: [u32; LANES] = core::array::from_fn(|lane| first.wrapping_add((i * LANES + lane) as u32));
        let mut key = [seed as u32, (seed >> 32) as u32];
        for _ in 0..10 {
            // One lane a block: loops of fixed length over plain arrays become vector instructions.
            for lane in 0..LANES {
                let a = u64::from(c0[lane]) * 0xD251_1F53;
                let b = u64::from(c2[lane]) * 0xCD9E_8D57;
                c0[lane] = (b >> 32) as u32 ^ c1[lane] ^ key[0];
                c1[lane] = b as u32;
                c2[lane] = (a >> 32) as u32 ^ c3[lane] ^ key[1];
                c3[lane] = a as u32;
            }
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        for (lane, block) in chunk.chunks_exact_mut(4).enumerate() {
            block.copy_from_slice(&[c0[lane], c1[lane], c2[lane], c3[lane]]);
        }
    }
}

impl TryRng for Philox {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.next_word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from(self.next_word()) | u64::from(self.next_word()) << 32)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in dst.chunks_mut(4) {
            let word = self.next_word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' Random123 distribution (kat_vectors, philox4x32 10).
    #[test]
    fn known_answers() {
        assert_eq!(philox_block([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox_block([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = philox_block([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn many_blocks_at_once_are_the_same_words() {
        let (seed, epoch, image) = (0x0123_4567_89AB_CDEF, 5, 77);
        let mut rng = Philox::new(seed, epoch, image, Purpose::Noise);
        let expected: Vec<u32> = (0..100).map(|_| rng.next_word()).collect();
        let mut words = [0; 92];
        fill_words(seed, [epoch, image, Purpose::Noise as u32], 2, &mut words);
        assert_eq!(words, expected[8..]);
    }

    /// `rand`'s own methods draw from the addressed stream.
    #[test]
    fn works_as_a_generator_of_rand() {
        use rand::RngExt;
        let mut words = Philox::new(9, 1, 2, Purpose::Bench);
        let mut rng = words.clone();
        assert_eq!(rng.random::<u32>(), words.next_word());
        let (low, high) = (words.next_word(), words.next_word());
        assert_eq!(rng.random::<u64>(), u64::from(low) | u64::from(high) << 32);
        let mut bytes = [0; 6];
        rng.fill(&mut bytes[..]);
        assert_eq!(bytes[..4], words.next_word().to_le_bytes());
        assert_eq!(bytes[4..], words.next_word().to_le_bytes()[..2]);
        assert!((0..100).all(|_| (3..9).contains(&rng.random_range(3..9))));
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut rng = Philox::new(7, 0, 0, Purpose::Noise);
        let n = 100_000;
        let normals: Vec<f64> = (0..n).map(|_| f64::from(rng.normal())).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let variance = normals.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        // Three standard errors: 3 / sqrt(n) and 3 sqrt(2 / n).
        assert!(mean.abs() < 0.0095 && (variance - 1.0).abs() < 0.0135, "mean {mean}, variance {variance}");
        let uniform = (0..n).map(|_| f64::from(rng.uniform())).sum::<f64>() / f64::from(n);
        assert!((uniform - 0.5).abs() < 0.00274, "mean {uniform}");
    }
}
