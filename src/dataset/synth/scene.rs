//! A litter as a three-dimensional scene, and its sections at 35 probe angles.
//!
//! Lengths are in units of the picture's width. The probe looks down from y = 0; it turns about a vertical axis and is shifted a
//! little from angle to angle, so that fetuses and organs come into view and leave it. Everything solid is an ellipsoid: a point
//! belongs when the sum of its squared coordinates, each divided by its half axis, is at most 1.

use crate::random::{Philox, Purpose};

/// Sub-images of a series.
pub const N_ANGLES: usize = 35;
/// More fetuses than this are never in view at once.
pub const MAX_IN_VIEW: usize = 6;

type Vector = [f32; 3];

/// A turned ellipsoid whose border may be diffuse on one side.
#[derive(Clone, Debug)]
pub struct Ellipsoid {
    pub centre: Vector,
    /// Unit vectors of the axes.
    pub axes: [Vector; 3],
    /// Half axes.
    pub radii: Vector,
    /// Direction in which the border is diffuse.
    pub diffuse_towards: Vector,
    /// Width of the diffuse border there; 0 for a sharp one.
    pub diffuse_width: f32,
}

impl Ellipsoid {
    /// The coordinates of a point along the axes, divided by the half axes.
    pub fn local(&self, point: Vector) -> Vector {
        let from_centre = subtract(point, self.centre);
        [0, 1, 2].map(|i| dot(from_centre, self.axes[i]) / self.radii[i])
    }

    /// About how deep inside the point lies: positive inside, in units of the picture's width.
    pub fn depth(&self, point: Vector) -> f32 {
        let local = self.local(point);
        (1.0 - dot(local, local).sqrt()) * self.radii[0].min(self.radii[1]).min(self.radii[2])
    }

    /// How much of the tissue shows at a point of depth `depth`: 1 inside, 0 outside, between them across the border, whose width is
    /// `sharp` where it is not diffuse.
    pub fn presence(&self, point: Vector, depth: f32, sharp: f32) -> f32 {
        let from_centre = subtract(point, self.centre);
        let length = dot(from_centre, from_centre).sqrt().max(1e-6);
        let towards = (dot(from_centre, self.diffuse_towards) / length).max(0.0);
        let width = sharp + self.diffuse_width * towards * towards;
        (0.5 + depth / width).clamp(0.0, 1.0)
    }
}

/// A fetus: its body and head, and three organs.
#[derive(Clone, Debug)]
pub struct Fetus {
    pub body: Ellipsoid,
    pub head: Ellipsoid,
    pub heart: Ellipsoid,
    pub liver: Ellipsoid,
    pub placenta: Ellipsoid,
    /// The water around it.
    pub sac: Ellipsoid,
}

/// What differs between series: the animal, the machine's settings, the hand that holds the probe.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub gain: f32,
    /// Decibels from black to white.
    pub dynamic_range: f32,
    /// Attenuation that the machine does not make up for, in nepers per picture height.
    pub attenuation: f32,
    /// Opacity of bone.
    pub shadow: f32,
    /// Tissue levels of this animal, as factors of the usual ones.
    pub tissue: [f32; 4],
}

/// A litter.
#[derive(Clone, Debug)]
pub struct Litter {
    pub fetuses: Vec<Fetus>,
    pub look: Look,
    planes: Vec<Plane>,
}

/// The plane of one probe angle: the picture's point (u, v) lies at origin + u across + v down.
#[derive(Clone, Copy, Debug)]
pub struct Plane {
    pub origin: Vector,
    pub across: Vector,
}

impl Plane {
    /// The point of the scene at (u, v) of the picture, both 0 to 1.
    pub fn at(&self, u: f32, v: f32) -> Vector {
        add(add(self.origin, scaled(self.across, u)), [0.0, v, 0.0])
    }
}

impl Litter {
    /// The litter of series `series`.
    pub fn draw(seed: u64, series: u32) -> Litter {
        let mut rng = Philox::new(seed, 0, series, Purpose::Synth);
        loop {
            let litter = Litter::try_draw(&mut rng);
            let in_view: Vec<usize> = litter.planes.iter().map(|plane| litter.n_in_view(plane)).collect();
            // A crowd is drawn again, and so is a litter that the probe hardly meets.
            let n_empty = in_view.iter().filter(|&&n| n == 0).count();
            if in_view.iter().all(|&n| n <= MAX_IN_VIEW) && n_empty <= N_ANGLES / 5 {
                return litter;
            }
        }
    }

    fn try_draw(rng: &mut Philox) -> Litter {
        let n = 3 + rng.below(7);
        let size = 1.3 - 0.055 * n as f32;
        let mut fetuses: Vec<Fetus> = Vec::new();
        // Places that are too near to another fetus are drawn again; a womb that is full stays at what it holds.
        for _ in 0..60 * n {
            if fetuses.len() == n {
                break;
            }
            let (angle, radius) = (rng.range(0.0, core::f32::consts::TAU), 0.6 * rng.uniform().sqrt());
            let place = [radius * libm::cosf(angle), rng.range(0.26, 0.74), radius * libm::sinf(angle)];
            let is_free = fetuses.iter().all(|f| distance(f.body.centre, place) > 0.40 * size);
            if is_free {
                let size = size * rng.range(0.93, 1.07);
                fetuses.push(Fetus::draw(rng, place, size));
            }
        }
        let look = Look {
            gain: rng.range(0.75, 1.35),
            dynamic_range: rng.range(38.0, 46.0),
            attenuation: rng.range(0.3, 1.1),
            shadow: rng.range(0.25, 0.6),
            tissue: [0, 1, 2, 3].map(|_| rng.range(0.88, 1.14)),
        };
        Litter { fetuses, look, planes: planes(rng) }
    }

    /// The plane of angle `angle`, from 0.
    pub fn plane(&self, angle: usize) -> Plane {
        self.planes[angle]
    }

    /// How many fetuses a plane cuts, head or body, within the picture.
    pub fn n_in_view(&self, plane: &Plane) -> usize {
        let shows = |fetus: &&Fetus| {
            (0..32 * 32).any(|i| {
                let point = plane.at((i % 32) as f32 / 31.0, (i / 32) as f32 / 31.0);
                fetus.body.depth(point) > 0.0 || fetus.head.depth(point) > 0.0
            })
        };
        self.fetuses.iter().filter(shows).count()
    }
}

/// The planes of a sweep: a half turn, with a hand that drifts. At the first and last angles it drifts off the litter in some series.
fn planes(rng: &mut Philox) -> Vec<Plane> {
    let start = rng.range(0.0, core::f32::consts::PI);
    let (drift, phase) = (rng.range(0.1, 0.3), rng.range(0.0, core::f32::consts::TAU));
    let leaving = rng.range(0.0, 1.1);
    let plane = |k: usize| {
        let share = k as f32 / (N_ANGLES - 1) as f32;
        let angle = start + core::f32::consts::PI * share;
        let (sin, cos) = (libm::sinf(angle), libm::cosf(angle));
        let off = drift * libm::sinf(phase + 9.0 * share) + leaving * ((share - 0.8) / 0.2).max(0.0);
        let middle = 0.25 * libm::sinf(phase + 5.0 * share);
        let across = [cos, 0.0, sin];
        let origin = add(scaled(across, middle - 0.5), scaled([-sin, 0.0, cos], off));
        Plane { origin, across }
    };
    (0..N_ANGLES).map(plane).collect()
}

impl Fetus {
    /// A fetus at a place, of a size relative to the usual one.
    fn draw(rng: &mut Philox, place: Vector, size: f32) -> Fetus {
        let axes = frame(rng);
        let [tail, belly, side] = axes;
        let diffuse = |rng: &mut Philox| {
            let width = if rng.uniform() < 0.3 { rng.range(0.015, 0.04) } else { 0.0 };
            (unit(direction(rng)), width)
        };
        let part = |rng: &mut Philox, at: Vector, radii: Vector| {
            let (diffuse_towards, diffuse_width) = diffuse(rng);
            let centre = add(place, scaled(at, size));
            Ellipsoid { centre, axes, radii: radii.map(|r| r * size), diffuse_towards, diffuse_width }
        };
        let at = |t: f32, b: f32, s: f32| add(add(scaled(tail, t), scaled(belly, b)), scaled(side, s));
        let vary = |rng: &mut Philox| rng.range(0.92, 1.08);
        let heart_size = vary(rng);
        let heart = part(rng, at(-0.092, 0.015, 0.0), [0.090, 0.098, 0.094].map(|r| r * heart_size));
        let liver_size = vary(rng);
        let liver = part(rng, at(0.082, 0.015, 0.0), [0.082, 0.122, 0.118].map(|r| r * liver_size));
        let body = part(rng, [0.0; 3], [0.215, 0.160, 0.152]);
        let head = part(rng, at(-0.235, 0.03, 0.0), [0.105, 0.098, 0.092]);
        let sac = part(rng, at(-0.04, 0.02, 0.0), [0.36, 0.235, 0.23]);
        let placenta_size = vary(rng);
        let mut placenta = part(rng, at(0.04, 0.235, 0.0), [0.185, 0.070, 0.17].map(|r| r * placenta_size));
        placenta.diffuse_width *= 0.8;
        Fetus { body, head, heart, liver, placenta, sac }
    }
}

/// Three random unit vectors at right angles.
fn frame(rng: &mut Philox) -> [Vector; 3] {
    let first = unit(direction(rng));
    let other = loop {
        let other = direction(rng);
        let rest = subtract(other, scaled(first, dot(first, other)));
        if dot(rest, rest) > 0.05 {
            break unit(rest);
        }
    };
    let [a, b] = [first, other];
    [a, b, [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]]
}

fn direction(rng: &mut Philox) -> Vector {
    [0, 1, 2].map(|_| rng.normal())
}

fn unit(v: Vector) -> Vector {
    scaled(v, 1.0 / dot(v, v).sqrt().max(1e-6))
}

fn distance(a: Vector, b: Vector) -> f32 {
    let d = subtract(a, b);
    dot(d, d).sqrt()
}

fn dot(a: Vector, b: Vector) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn add(a: Vector, b: Vector) -> Vector {
    [0, 1, 2].map(|i| a[i] + b[i])
}

fn subtract(a: Vector, b: Vector) -> Vector {
    [0, 1, 2].map(|i| a[i] - b[i])
}

fn scaled(v: Vector, factor: f32) -> Vector {
    v.map(|x| x * factor)
}
