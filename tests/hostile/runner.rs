//! Runs mutants through a reader and holds it to its promises.

use super::allocator::peak_of;
use super::mutate::{Corpus, Random, mutant};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A mutant that takes longer than this hangs. Coarse on purpose: the slowest honest one takes a fraction of a second.
const HANG: Duration = Duration::from_secs(10);
const DEFAULT_SEED: u64 = 20_261_124;

/// A reader and its mutants.
pub struct Suite {
    /// Of the format; part of a mutant's identity.
    pub name: &'static str,
    pub corpus: Corpus,
    pub n_mutants: u64,
    /// Gives the bytes to the reader; says whether they were accepted.
    pub run: fn(&[u8]) -> bool,
    /// The most bytes that reading may hold at once.
    pub bound: fn(&[u8]) -> usize,
    /// Sets right what would have every mutant refused at the door (checksums); half of the mutants are repaired.
    pub repair: Option<fn(&mut [u8])>,
}

impl Suite {
    /// Runs all mutants of the seed in `PROPTEST_RNG_SEED`; of these only the one that `UNET_ENGINE_HOSTILE_MUTANT` names; or as many
    /// as `UNET_ENGINE_HOSTILE_SECONDS` leaves time for. With `UNET_ENGINE_HOSTILE_CORPUS` it writes the good files there instead.
    pub fn test(&self) {
        let seed = number("PROPTEST_RNG_SEED").unwrap_or(DEFAULT_SEED);
        if let Some(folder) = std::env::var_os("UNET_ENGINE_HOSTILE_CORPUS") {
            return self.write_corpus(&Path::new(&folder).join(self.name));
        }
        self.corpus.files.iter().for_each(|file| self.check(seed, "a good file", file));
        if let Some(only) = number("UNET_ENGINE_HOSTILE_MUTANT") {
            let bytes = self.mutant(seed, only);
            say(&format!("{}: mutant {only} of seed {seed} is {}", self.name, self.keep(&only.to_string(), &bytes).display()));
            self.check(seed, &only.to_string(), &bytes);
            return;
        }
        let (until, n_mutants) = match number("UNET_ENGINE_HOSTILE_SECONDS") {
            Some(seconds) => (Some(Instant::now() + Duration::from_secs(seconds)), u64::MAX),
            None => (None, self.n_mutants),
        };
        let watchdog = Watchdog::start(self.name, seed);
        let (mut n, mut n_accepted, mut highest) = (0, 0, 0);
        while n < n_mutants && until.is_none_or(|until| Instant::now() < until) {
            let bytes = self.mutant(seed, n);
            watchdog.begin(n);
            let (accepted, peak) = self.measure(seed, &n.to_string(), &bytes);
            n_accepted += u64::from(accepted);
            highest = highest.max(peak);
            n += 1;
        }
        say(&format!("{}: {n} mutants of seed {seed}, {n_accepted} accepted, at most {} KiB held", self.name, highest >> 10));
        assert!(
            n_accepted > 0 && n_accepted < n,
            "{}: {n_accepted} of {n} mutants accepted: these mutations test nothing",
            self.name
        );
    }

    fn write_corpus(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder for the corpus");
        for (i, file) in self.corpus.files.iter().enumerate() {
            std::fs::write(folder.join(format!("good-{i}")), file).expect("a file of the corpus");
        }
    }

    fn mutant(&self, seed: u64, number: u64) -> Vec<u8> {
        let mut random = Random::new(seed, self.name, number);
        let mut bytes = mutant(&self.corpus, &mut random);
        if let Some(repair) = self.repair.filter(|_| random.below(2) == 0) {
            repair(&mut bytes);
        }
        bytes
    }

    fn check(&self, seed: u64, which: &str, bytes: &[u8]) {
        self.measure(seed, which, bytes);
    }

    /// Whether the bytes were accepted, and the most bytes that were held.
    fn measure(&self, seed: u64, which: &str, bytes: &[u8]) -> (bool, usize) {
        let (outcome, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (self.run)(bytes))));
        let fail = |what: String| -> ! {
            let path = self.keep(which, bytes);
            panic!("{}: mutant {which} of seed {seed} ({}): {what}", self.name, path.display())
        };
        let accepted = outcome.unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            fail(format!("panicked: {}", text.unwrap_or_default()))
        });
        let bound = (self.bound)(bytes);
        if peak > bound {
            fail(format!("{peak} bytes were held for a file of {}, expected at most {bound}", bytes.len()));
        }
        (accepted, peak)
    }

    /// Writes a mutant to a file, to look at or to debug with.
    fn keep(&self, which: &str, bytes: &[u8]) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}-{}", self.name, which.replace(' ', "-")));
        std::fs::write(&path, bytes).expect("the target's temporary folder can be written");
        path
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: expected a number")))
}

/// Past the capture of output by the test harness: after an abort (a full stack) this is all there is.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "hostile {text}");
}

/// Ends the process when one mutant takes too long, for nothing else can end a loop without end.
struct Watchdog {
    started: Instant,
    /// The number of the mutant at work, and when it began, in milliseconds.
    current: Arc<[AtomicU64; 2]>,
    done: Arc<AtomicBool>,
}

impl Watchdog {
    fn start(name: &'static str, seed: u64) -> Watchdog {
        let watchdog = Watchdog { started: Instant::now(), current: Arc::default(), done: Arc::default() };
        let (started, current, done) = (watchdog.started, watchdog.current.clone(), watchdog.done.clone());
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(500));
                let [number, began] = [0, 1].map(|i| current[i].load(Ordering::Relaxed));
                if started.elapsed() > Duration::from_millis(began) + HANG && !done.load(Ordering::Relaxed) {
                    say(&format!("{name}: mutant {number} of seed {seed} HANGS: more than {} s", HANG.as_secs()));
                    std::process::abort();
                }
            }
        });
        watchdog
    }

    fn begin(&self, number: u64) {
        self.current[0].store(number, Ordering::Relaxed);
        self.current[1].store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}
