//! The chart: bars of every server's ratio to the baseline, in plain SVG.

use std::fmt::Write;

use super::report::Table;
use super::servers::BASELINE;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 300.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;
/// Beyond this ratio a bar is cut off, and only its number tells.
const LONGEST: f64 = 2.0;

/// The colours of the servers, in the order in which they appear.
const COLOURS: [&str; 6] = [
    "#1f6f8b", "#e08e45", "#7a9e4b", "#9a6fb0", "#b5525c", "#7f7f7f",
];

/// Draws the medians of all modes. Shorter is better; the line at 1 is the baseline.
pub(super) fn svg(title: &str, tables: &[Table]) -> String {
    // Clients have baselines of their own.
    let tables = || tables.iter().filter(|table| !table.mode.of_clients);
    let mut names: Vec<(&str, &str)> = Vec::new();
    for row in tables().flat_map(|table| &table.rows) {
        let name = (row.server.name, row.server.what);
        if name.0 != BASELINE && !names.contains(&name) {
            names.push(name);
        }
    }
    let colour = |name: &str| {
        let at = names.iter().position(|(known, _)| *known == name);
        COLOURS[at.unwrap_or_default() % COLOURS.len()]
    };
    let scale = (WIDTH - LABEL - 60.0) / LONGEST;
    let mut body = String::new();
    let mut y = 56.0;
    for (at, (_, what)) in names.iter().enumerate() {
        let x = 10.0 + (at % 3) as f64 * 280.0;
        let line = y + (at / 3) as f64 * 18.0;
        let fill = COLOURS[at % COLOURS.len()];
        let _ = writeln!(
            body,
            r#"<rect x="{x}" y="{}" width="12" height="12" fill="{fill}"/>"#,
            line - 10.0
        );
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{line}">{}</text>"#,
            x + 18.0,
            escape(what)
        );
    }
    y += names.len().div_ceil(3) as f64 * 18.0 + GAP;
    let top = y;
    for table in tables() {
        let start = y;
        for row in &table.rows {
            let Some(ratio) = table
                .ratio(row.server.name)
                .filter(|_| row.server.name != BASELINE)
            else {
                continue;
            };
            let width = ratio.median.min(LONGEST) * scale;
            let fill = colour(row.server.name);
            let _ = writeln!(
                body,
                r#"<rect x="{LABEL}" y="{y}" width="{width:.1}" height="{BAR}" fill="{fill}"/><text x="{:.1}" y="{}">{:.2}</text>"#,
                LABEL + width + 5.0,
                y + BAR - 3.0,
                ratio.median
            );
            y += BAR + 2.0;
        }
        let middle = (start + y) / 2.0 + 3.0;
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{middle:.1}" text-anchor="end">{}</text>"#,
            LABEL - 8.0,
            escape(table.mode.what)
        );
        y += GAP;
    }
    let one = LABEL + scale;
    let _ = writeln!(
        body,
        r##"<line x1="{one}" x2="{one}" y1="{top}" y2="{y}" stroke="#444" stroke-dasharray="4 3"/>"##
    );
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"16\">Cost relative to engineioxide (dashed line); shorter is better</text>\n\
         <text x=\"10\" y=\"38\" fill=\"#666\">{}</text>\n{body}</svg>\n",
        escape(title)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
