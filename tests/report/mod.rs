//! The reports in a real browser without a network: Chromium, headless. Without Chromium these tests say so and check nothing; with
//! UNET_ENGINE_REQUIRE_TOOLS=1 its absence is a failure.

use crate::predict::{World, stderr, text, write_grid};
use crate::train::discs;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The browser's window, in pixels.
const WIDTH: u32 = 1200;
const HEIGHT: u32 = 2400;

/// Nothing but the page: no network, no helpers in the background, and no sandbox, which root cannot have.
const OPTIONS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=20000",
];

fn chromium() -> Option<&'static str> {
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs);
        if found.is_none() {
            assert!(std::env::var_os("UNET_ENGINE_REQUIRE_TOOLS").is_none_or(|v| v != "1"), "there is no chromium");
            eprintln!("not run: there is no chromium");
        }
        found
    })
}

/// What Chromium prints for `page`; `work` is a fresh folder.
fn browse(chromium: &str, work: &Path, page: &Path, option: &str) -> Vec<u8> {
    let address = format!("file://{}", text(page));
    let profile = format!("--user-data-dir={}", text(&work.join("profile")));
    // A browser that hangs must not hang the tests.
    let mut command = Command::new("timeout");
    command.args(["120", chromium]);
    command.args(OPTIONS).args([&profile, &format!("--window-size={WIDTH},{HEIGHT}"), option, &address]);
    let output = command.output().expect("the browser starts");
    assert!(output.status.success(), "{}", stderr(&output));
    output.stdout
}

/// A page around the report that counts what the browser made of it.
const FRAME: &str = r#"<!DOCTYPE html><meta charset="utf-8"><iframe id="frame" style="width:WIDTHpx;height:900px" src="PAGE"></iframe>
<pre id="answer"></pre><script>
window.onload = () => {
  const frame = document.getElementById('frame'), page = frame.contentDocument, images = [...page.images];
  const charts = [...page.querySelectorAll('svg')];
  const inside = svg => { const box = svg.getBBox(), view = svg.viewBox.baseVal;
    return box.width > 0 && box.x >= view.x - 1 && box.x + box.width <= view.x + view.width + 1; };
  document.getElementById('answer').textContent = JSON.stringify({
    images: images.length, broken: images.filter(image => image.naturalWidth === 0).length,
    charts: charts.length, cut: charts.filter(svg => !inside(svg)).length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    fetched: frame.contentWindow.performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:')),
    headings: [...page.querySelectorAll('h1,h2,h3')].map(h => h.innerText),
    links: [...page.links].map(link => link.href), text: page.body.innerText });
};
</script>"#;

/// What the browser sees in a page of `width` pixels.
fn look(chromium: &str, page: &Path, width: u32) -> Value {
    let work = tempfile::tempdir().unwrap();
    let frame = work.path().join("frame.html");
    let address = format!("file://{}", text(page));
    std::fs::write(&frame, FRAME.replace("PAGE", &address).replace("WIDTH", &width.to_string())).unwrap();
    let dom = String::from_utf8_lossy(&browse(chromium, work.path(), &frame, "--dump-dom")).into_owned();
    let answer = dom.split("<pre id=\"answer\">").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_default();
    let answer = answer.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{}: {e}: {dom}", page.display()))
}

/// A picture of the page as a reader sees it.
fn screenshot(chromium: &str, page: &Path) -> image::RgbImage {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("page.png");
    browse(chromium, work.path(), page, &format!("--screenshot={}", text(&file)));
    let picture = image::open(&file).expect("a screenshot").into_rgb8();
    assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
    picture
}

/// Pixels near a colour; pictures in the pages are JPEGs.
fn n_near(picture: &image::RgbImage, color: [u8; 3]) -> usize {
    picture.pixels().filter(|pixel| pixel.0.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 48)).count()
}

/// What every page must be: whole, within its width on a screen and on a telephone, and needing nothing from elsewhere.
fn assert_whole(chromium: &str, page: &Path, n_images: usize, n_charts: usize) -> Value {
    for width in [WIDTH, 400] {
        let seen = look(chromium, page, width);
        assert_eq!((seen["images"].as_u64(), seen["broken"].as_u64()), (Some(n_images as u64), Some(0)), "{seen}");
        assert_eq!((seen["charts"].as_u64(), seen["cut"].as_u64()), (Some(n_charts as u64), Some(0)), "{seen}");
        assert_eq!(seen["fetched"], serde_json::json!([]), "{}", page.display());
        assert_eq!(seen["overflow"].as_u64(), Some(0), "{} pixels wide: {seen}", width);
    }
    look(chromium, page, WIDTH)
}

#[test]
fn the_report_of_a_training_shows_curves_choice_metrics_and_examples() {
    let Some(chromium) = chromium() else { return };
    let page = World::shared().path("run/report.html");
    let images = std::fs::read_to_string(&page).unwrap().matches("<figure>").count();
    assert!((3..=9).contains(&images), "best, median and worst: {images} examples");
    let seen = assert_whole(chromium, &page, images, 3);
    let headings: Vec<&str> = seen["headings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(headings[..5], ["Training run", "Curves", "Choice of the threshold", "Validation series", "Examples"]);
    assert!(["Best", "Median", "Worst"].iter().all(|kind| headings.contains(kind)), "{headings:?}");
    let picture = screenshot(chromium, &page);
    for (what, color) in [("annotated", [0, 200, 255]), ("predicted", [255, 64, 64]), ("recall", [44, 140, 44])] {
        assert!(n_near(&picture, color) > 50, "no {what} to be seen: {} pixels", n_near(&picture, color));
    }
}

#[test]
fn the_reports_of_a_prediction_show_every_sub_image_and_lead_to_one_another() {
    let Some(chromium) = chromium() else { return };
    let world = World::shared();
    let (run, grid, out) = (world.path("run"), world.path("browser grid.png"), world.path("out browser"));
    write_grid(&grid, &discs(), 6, 3);
    // A low threshold, so that there is something to see in nearly every picture.
    let output = world.run(&["predict", "--model", text(&run), text(&grid), "--out", text(&out), "--threshold", "0.3"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let overview = assert_whole(chromium, &out.join("report.html"), 0, 0);
    let links: Vec<&str> = overview["links"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let [link] = links[..] else { panic!("a link for the series: {links:?}") };
    let page = PathBuf::from(link.strip_prefix("file://").expect("a file").replace("%20", " "));
    let seen = assert_whole(chromium, &page, discs().len(), 0);
    assert!(seen["text"].as_str().unwrap().contains("composite, 5 rows x 6 columns"), "{seen}");
    let picture = screenshot(chromium, &page);
    let n_outlines = n_near(&picture, [255, 64, 64]) + n_near(&picture, [255, 208, 0]);
    assert!(n_outlines > 200, "no outlines to be seen: {n_outlines} pixels");
}
