//! The map of a page: an inline SVG that needs no JavaScript, and the data from which static/state.js
//! draws the same as a Leaflet map in its place.
//! Projection happens elsewhere; the numbers of `MapView` are pixels of its own view box.
//! Surprise: only the list next to the map can be focused; pins are shortcuts for the pointer.

use serde::Serialize;

/// A map as drawn by the server, in pixels from its top left corner.
#[derive(Debug, Clone, Default)]
pub struct MapView {
    pub label: String,
    pub width: u16,
    pub height: u16,
    pub area: String,
    pub route: String,
    pub pins: Vec<PinView>,
    pub me: Option<(i32, i32)>,
    pub scale_width: f64,
    /// What the scale bar measures, as in "500 m".
    pub scale_label: String,
    pub data: String,
}

/// One pin of a map.
#[derive(Debug, Clone, Default)]
pub struct PinView {
    pub x: i32,
    pub y: i32,
    pub label: String,
}

/// What static/state.js needs to draw the map; points are `[latitude, longitude]` in degrees.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MapData<'a> {
    pub tiles: String,
    pub attribution: String,
    pub area: Vec<[f64; 2]>,
    pub pins: Vec<MapPin<'a>>,
    pub route: Vec<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub me: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centre: Option<[f64; 2]>,
}

/// One pin: point, label; the card with the same number is its description.
#[derive(Debug, Clone, Serialize)]
pub struct MapPin<'a>(pub [f64; 2], pub &'a str);

impl MapData<'_> {
    /// JSON in which no `<` stands, so that it cannot end the script element it is put into.
    pub fn to_script(&self) -> String {
        // Numbers, strings and lists cannot fail to serialize; an empty object draws no map.
        serde_json::to_string(self).map_or_else(|_| "{}".to_owned(), |json| json.replace('<', "\\u003c"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_data_cannot_end_its_element() {
        let data = MapData { attribution: "</script><script>alert(1)".to_owned(), ..MapData::default() };
        let json = data.to_script();
        assert!(!json.contains('<'));
        assert!(json.contains(r"\u003c/script>"));
    }
}
