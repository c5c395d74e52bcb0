//! How an organ's ROIs look: group and stroke colour.

use std::collections::BTreeMap;

/// ImageJ's group of a ROI, and its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub group: u8,
    /// Red, green, blue.
    pub color: [u8; 3],
}

const HEART: Style = Style { group: 1, color: [255, 64, 64] };
const LIVER: Style = Style { group: 2, color: [64, 224, 96] };
const PLACENTA: Style = Style { group: 3, color: [80, 170, 255] };

/// Objects for review, of whatever organ.
pub const REVIEW: Style = Style { group: 9, color: [255, 230, 0] };

/// Colours of other organs, from group 4.
const OTHERS: [[u8; 3]; 5] = [[255, 208, 0], [255, 96, 255], [0, 224, 224], [255, 144, 32], [176, 128, 255]];

/// Styles of a prediction's organs: groups 1, 2, 3 are heart, liver, placenta; others get 4, 5, ... in the order of their names.
pub fn styles<'a>(organs: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Style> {
    let mut styles = BTreeMap::new();
    let mut others: Vec<&str> = Vec::new();
    for organ in organs {
        match organ {
            "heart" => _ = styles.insert(organ.to_string(), HEART),
            "liver" => _ = styles.insert(organ.to_string(), LIVER),
            "placenta" => _ = styles.insert(organ.to_string(), PLACENTA),
            other => others.push(other),
        }
    }
    others.sort_unstable();
    others.dedup();
    for (i, organ) in others.into_iter().enumerate() {
        // Group 9 is the review's; ImageJ's groups end at 255.
        let group = (4..=u8::MAX).filter(|group| *group != REVIEW.group).nth(i).unwrap_or(u8::MAX);
        styles.insert(organ.to_string(), Style { group, color: OTHERS[i % OTHERS.len()] });
    }
    styles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_fixed_by_name() {
        let styles = styles(["placenta", "nerve", "heart", "brain", "nerve"]);
        let groups: Vec<(&str, u8)> = styles.iter().map(|(organ, style)| (organ.as_str(), style.group)).collect();
        assert_eq!(groups, [("brain", 4), ("heart", 1), ("nerve", 5), ("placenta", 3)]);
    }
}
