//! Pieces of a self-contained page.

use crate::metrics::{Evaluation, Scores};
use std::fmt::Write;

const STYLE: &str = "body{font-family:sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;display:block;max-width:100%;overflow-x:auto}td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}svg{max-width:40rem;width:100%;display:block}\
figure{display:inline-block;margin:.5rem;vertical-align:top;max-width:22rem}figure img{width:100%}\
figcaption{font-size:.85rem}pre{background:#f6f6f6;padding:1rem;overflow:auto}";

/// A page that needs no other file.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )
}

/// Text as it may stand in an element or an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A picture of the given media type (`image/png`) inside the page.
pub fn figure(media: &str, bytes: &[u8], caption: &str) -> String {
    let caption = escape(caption);
    let data = base64(bytes);
    format!("<figure><img alt=\"{caption}\" src=\"data:{media};base64,{data}\"><figcaption>{caption}</figcaption></figure>\n")
}

/// A table of metrics, a row for each name.
pub fn metrics_table<'a>(rows: impl IntoIterator<Item = (&'a str, &'a Evaluation)>) -> String {
    let mut table = String::from(
        "<table><tr><th></th><th>images</th><th>with organ</th><th>Dice</th><th>precision</th><th>recall</th><th>IoU</th>\
         <th>objects: F1</th><th>precision</th><th>recall</th><th>IoU</th><th>false-positive images</th></tr>\n",
    );
    for (name, evaluation) in rows {
        let cells = |s: &Scores| [s.dice, s.precision, s.recall, s.iou].map(|v| format!("<td>{}</td>", number(v))).concat();
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "<tr><td>{}</td><td>{}</td><td>{}</td>{}{}<td>{} of {}</td></tr>",
            escape(name),
            evaluation.images,
            evaluation.images_with_organ,
            cells(&evaluation.pixel),
            cells(&evaluation.object),
            evaluation.false_positive_images,
            evaluation.images_without_organ
        );
    }
    table + "</table>\n"
}

/// Three digits, or a dash where there is no value.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_string(), |v| format!("{v:.3}"))
}

/// Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base64_is_the_standard_one() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert!(!page("<script>", "").contains("<script>"));
        assert_eq!(escape("a\"&<b>"), "a&quot;&amp;&lt;b&gt;");
    }
}
