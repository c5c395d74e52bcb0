//! Test-time flips: a network sees a picture and its mirror images, and what it says of each is laid back.

use crate::image::Gray;
use std::borrow::Cow;

/// A mirror image of a picture. Each is its own inverse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flip {
    /// Left becomes right.
    pub horizontal: bool,
    /// Top becomes bottom.
    pub vertical: bool,
}

/// The picture as it is.
pub const AS_IT_IS: [Flip; 1] = [Flip { horizontal: false, vertical: false }];

/// The picture as it is, first, and its three mirror images.
pub const ALL: [Flip; 4] = [
    AS_IT_IS[0],
    Flip { horizontal: true, vertical: false },
    Flip { horizontal: false, vertical: true },
    Flip { horizontal: true, vertical: true },
];

impl Flip {
    /// The mirror image of `image`; no copy where nothing is mirrored.
    pub fn picture(self, image: &Gray) -> Cow<'_, Gray> {
        if self == AS_IT_IS[0] {
            return Cow::Borrowed(image);
        }
        let mut pixels = image.pixels.clone();
        self.apply(&mut pixels, image.width);
        Cow::Owned(Gray { pixels, ..*image })
    }

    /// Mirrors a map with rows of `width` values in place.
    pub fn apply<T>(self, map: &mut [T], width: usize) {
        match (self.horizontal, self.vertical) {
            (false, false) => {}
            (true, false) => map.chunks_exact_mut(width).for_each(<[T]>::reverse),
            // All values in reverse order are the picture turned half around.
            (true, true) => map.reverse(),
            (false, true) => {
                map.reverse();
                map.chunks_exact_mut(width).for_each(<[T]>::reverse);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_images_are_those_of_a_picture_of_six_pixels() {
        let image = Gray::new(3, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let expected = [
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            [3.0, 2.0, 1.0, 6.0, 5.0, 4.0],
            [4.0, 5.0, 6.0, 1.0, 2.0, 3.0],
            [6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
        ];
        for (flip, expected) in ALL.into_iter().zip(expected) {
            let mut flipped = flip.picture(&image).into_owned();
            assert_eq!(flipped.pixels, expected, "{flip:?}");
            flip.apply(&mut flipped.pixels, 3);
            assert_eq!(flipped, image, "{flip:?} is not its own inverse");
        }
    }
}
