//! QR codes as the path of an SVG: a unit a module, without the quiet zone.

use std::fmt::Write;

use qrcode::{Color, QrCode};

/// The size in modules and the dark ones, each run of a row one rectangle; none for a text longer
/// than a code can hold.
pub fn path(text: &str) -> Option<(usize, String)> {
    let code = QrCode::new(text).ok()?;
    let (size, modules) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (y, row) in modules.chunks(size).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|one, next| one == next) {
            if run.first() == Some(&Color::Dark) {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{x} {y}h{0}v1h-{0}z", run.len());
            }
            x += run.len();
        }
    }
    Some((size, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the path covers the module, as an SVG would fill it.
    fn dark(path: &str, x: usize, y: usize) -> bool {
        path.split('M').skip(1).any(|run| {
            let (at, rest) = run.split_once('h').unwrap();
            let (left, top) = at.split_once(' ').unwrap();
            let (left, width): (usize, usize) =
                (left.parse().unwrap(), rest.split('v').next().unwrap().parse().unwrap());
            top.parse() == Ok(y) && (left..left + width).contains(&x)
        })
    }

    #[test]
    fn another_program_reads_the_text_off_the_path() {
        for text in ["https://movr.example/v/NEW-1-0950", "https://movr.example/v/M%C3%BCnchen%20%2F7"] {
            let (size, path) = path(text).unwrap();
            let grid = rqrr::SimpleGrid::from_func(size, |x, y| dark(&path, x, y));
            let (_, read) = rqrr::Grid::new(grid).decode().unwrap();
            assert_eq!(read, text);
        }
        assert_eq!(path(&"x".repeat(3_000)), None);
    }
}
