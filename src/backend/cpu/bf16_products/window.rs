//! Which taps of a kernel are distances between positions of a panel, which lie side by side, and where positions lie.

use super::product::SIDE;

/// Which taps of a kernel lie side by side as features of one position.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Beside {
    /// None: each is a distance between positions.
    None,
    /// Those of a row of the kernel.
    Row,
    /// All of them.
    All,
}

/// The most taps that are distances between positions.
pub const MAX_DISTANCES: usize = 9;

/// A square neighbourhood of pixels with some features each.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub kernel: usize,
    pub features: usize,
    pub beside: Beside,
}

impl Window {
    /// Takes the way with the fewest steps.
    pub fn new(kernel: usize, features: usize) -> Window {
        let window = |beside| Window { kernel, features, beside };
        match kernel {
            1 => window(Beside::None),
            _ if window(Beside::All).blocks() == 1 => window(Beside::All),
            _ if window(Beside::Row).steps() < window(Beside::None).steps() => window(Beside::Row),
            _ => window(Beside::None),
        }
    }

    /// Taps that lie side by side.
    pub fn beside(self) -> usize {
        match self.beside {
            Beside::None => 1,
            Beside::Row => self.kernel,
            Beside::All => self.kernel * self.kernel,
        }
    }

    /// Rows above and below a pixel, and columns beside it, that the taps lying side by side reach.
    pub fn reach_beside(self) -> [usize; 2] {
        let pad = self.kernel / 2;
        match self.beside {
            Beside::None => [0, 0],
            Beside::Row => [0, pad],
            Beside::All => [pad, pad],
        }
    }

    /// The same of the taps that are distances between positions.
    pub fn reach_apart(self) -> [usize; 2] {
        let pad = self.kernel / 2;
        self.reach_beside().map(|beside| pad - beside)
    }

    /// The same of all taps.
    pub fn reach(self) -> [usize; 2] {
        [self.kernel / 2; 2]
    }

    /// Features of a position.
    pub fn expanded(self) -> usize {
        self.beside() * self.features
    }

    /// Blocks of features of a position.
    pub fn blocks(self) -> usize {
        self.expanded().div_ceil(SIDE)
    }

    /// Taps that are distances between positions. Tap i of these stands for the taps `i beside ..` of the kernel.
    pub fn distances(self) -> usize {
        self.kernel * self.kernel / self.beside()
    }

    /// Steps of a product over the whole neighbourhood.
    pub fn steps(self) -> usize {
        self.distances() * self.blocks()
    }

    /// The kernel's tap and its feature behind feature `expanded` of a position, for the tap `distance` of [`Window::distances`].
    pub fn source(self, distance: usize, expanded: usize) -> (usize, usize) {
        (distance * self.beside() + expanded / self.features, expanded % self.features)
    }
}

/// Positions of a panel: those of some images, one after another, each with `rows` rows and those around them.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub window: Window,
    pub width: usize,
    pub rows: usize,
    pub images: usize,
}

impl Grid {
    /// Positions from one row to the next.
    pub fn pitch(self) -> usize {
        self.width + 2 * self.window.reach_apart()[1]
    }

    /// Rows of an image, with those above and below.
    pub fn image_rows(self) -> usize {
        self.rows + 2 * self.window.reach_apart()[0]
    }

    /// Positions from one image to the next.
    pub fn image_pitch(self) -> usize {
        self.image_rows() * self.pitch()
    }

    pub fn positions(self) -> usize {
        self.images * self.image_pitch()
    }

    /// How many positions further tap `i` of [`Window::distances`] reads.
    pub fn distance(self, i: usize) -> usize {
        match self.window.beside {
            Beside::None => i / self.window.kernel * self.pitch() + i % self.window.kernel,
            Beside::Row => i * self.pitch(),
            Beside::All => 0,
        }
    }

    /// Positions of a block of a panel. Behind the last one follow zeros for what products read past it, up to the next whole step and
    /// the longest distance, and what pairs that begin at odd positions lack at the end.
    pub fn plane(self) -> usize {
        (self.positions().next_multiple_of(SIDE) + self.distance(self.window.distances() - 1) + 4).next_multiple_of(2)
    }

    /// Numbers of a panel of `blocks` blocks.
    pub fn panel_len(self, blocks: usize) -> usize {
        blocks * self.plane() * SIDE
    }
}
