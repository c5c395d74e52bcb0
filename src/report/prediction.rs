//! The reports of a prediction: a page per series with every sub-image, and one page with all series in a table.

use super::html::{escape, figure, page};
use super::overlay::{Canvas, Color};
use crate::atomic_file;
use crate::error::Result;
use std::fmt::Write;
use std::path::Path;

/// The page of a series, made sub-image by sub-image.
#[derive(Default)]
pub struct SeriesReport {
    figures: String,
}

impl SeriesReport {
    /// Adds a sub-image; `counts` are organ, accepted objects and objects for review.
    ///
    /// # Errors
    /// If the picture cannot be encoded.
    pub fn add(&mut self, number: usize, picture: &Canvas, counts: &[(&str, usize, usize)]) -> Result<()> {
        let of = |&(organ, accepted, review): &(&str, usize, usize)| match review {
            0 => format!("{organ} {accepted}"),
            _ => format!("{organ} {accepted} (review {review})"),
        };
        let counts: Vec<String> = counts.iter().map(of).collect();
        self.figures.push_str(&figure("image/jpeg", &picture.jpeg()?, &format!("{number}: {}", counts.join(", "))));
        Ok(())
    }

    /// Writes the page. `legend` says for each organ what was used, and its colour.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path, series: &str, description: &str, legend: &[(String, Color)], review: Color) -> Result<()> {
        let mut body = format!("<p>{}</p>\n<ul>\n", escape(description));
        let review = (String::from("for review: objects just below the threshold"), review);
        for (text, color) in legend.iter().chain([&review]) {
            let [r, g, b] = color;
            // Writing to a String cannot fail.
            let _ = writeln!(
                body,
                "<li><span style=\"background:rgb({r},{g},{b});display:inline-block;width:1em;height:1em\"></span> {}</li>",
                escape(text)
            );
        }
        let _ = write!(body, "</ul>\n{}", self.figures);
        atomic_file::write(path, page(&format!("Predictions for {series}"), &body).as_bytes())
    }
}

/// A row of the page with all series.
pub struct SeriesRow {
    /// The series' folder.
    pub name: String,
    pub source: String,
    pub sub_images: usize,
    /// Accepted objects and objects for review, for each organ.
    pub counts: Vec<(usize, usize)>,
}

/// Writes the page with all series: a table with links to theirs. `models` says for each organ what was used.
///
/// # Errors
/// If it cannot be written.
pub fn write_predictions(path: &Path, organs: &[&str], models: &[String], rows: &[SeriesRow], left_out: &[String]) -> Result<()> {
    let mut body = String::from("<ul>\n");
    // Writing to a String cannot fail.
    models.iter().for_each(|model| _ = writeln!(body, "<li>{}</li>", escape(model)));
    body.push_str("</ul>\n<table><tr><th>series</th><th>sub-images</th>");
    organs.iter().for_each(|organ| _ = write!(body, "<th>{0}</th><th>{0} for review</th>", escape(organ)));
    body.push_str("<th>pictures</th></tr>\n");
    for row in rows {
        let name = escape(&row.name);
        let link = escape(&format!("{}/report.html", encode_path(&row.name)));
        let _ = write!(body, "<tr><td><a href=\"{link}\">{name}</a></td><td>{}</td>", row.sub_images);
        row.counts.iter().for_each(|(accepted, review)| _ = write!(body, "<td>{accepted}</td><td>{review}</td>"));
        let _ = writeln!(body, "<td>{}</td></tr>", escape(&row.source));
    }
    body.push_str("</table>\n");
    if !left_out.is_empty() {
        body.push_str("<h2>Left out</h2>\n<ul>\n");
        left_out.iter().for_each(|error| _ = writeln!(body, "<li><pre>{}</pre></li>", escape(error)));
        body.push_str("</ul>\n");
    }
    atomic_file::write(path, page("Predictions", &body).as_bytes())
}

/// A file's name as a part of an address: percent-encoded but for unreserved characters (RFC 3986, section 2.3).
fn encode_path(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_addresses() {
        assert_eq!(encode_path("Wurf 7#ä"), "Wurf%207%23%C3%A4");
    }

    #[test]
    fn a_series_page_holds_every_sub_image_and_nothing_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = SeriesReport::default();
        for number in 1..=3 {
            report.add(number, &Canvas::new(40, 30, [9, 9, 9]), &[("heart", 2, 0), ("liver", 0, 1)]).unwrap();
        }
        let path = folder.path().join("report.html");
        report.write(&path, "a<b", "a stack", &[("heart".into(), [1, 2, 3])], [4, 5, 6]).unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert_eq!(page.matches("data:image/jpeg;base64,").count(), 3);
        assert!(page.contains("2: heart 2, liver 0 (review 1)") && page.contains("rgb(1,2,3)") && page.contains("rgb(4,5,6)"));
        assert!(page.contains("a&lt;b") && !page.contains("http"));
    }
}
