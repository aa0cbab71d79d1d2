//! An answer as a person sees it: text, links, forms and their hidden fields.

use reqwest::{StatusCode, header::HeaderMap};
use scraper::{ElementRef, Html, Selector};

/// An answer of the server.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Page {
    fn all<T>(&self, selector: &str, read: impl Fn(ElementRef<'_>) -> Option<T>) -> Vec<T> {
        let html = Html::parse_document(&self.body);
        html.select(&Selector::parse(selector).unwrap()).filter_map(read).collect()
    }

    /// Everything that can be read in `main`, with single spaces.
    pub fn text(&self) -> String {
        self.texts("main").join(" ")
    }

    /// The text of each element.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let words = |e: ElementRef<'_>| e.text().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        self.all(selector, |e| Some(words(e)))
    }

    /// An attribute of each element.
    pub fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        self.all(selector, |e| e.value().attr(name).map(str::to_owned))
    }

    /// The value of the first field of that name.
    pub fn field(&self, name: &str) -> String {
        let found = self.attributes(&format!("[name=\"{name}\"]"), "value");
        found.first().unwrap_or_else(|| panic!("no field {name} in {}", self.body)).clone()
    }

    /// The hidden fields of the `n`th vehicle card, from 1.
    pub fn card(&self, n: usize) -> Vec<(String, String)> {
        let selector = format!("#v{n} input[type=\"hidden\"]");
        let pair = |e: ElementRef<'_>| Some((e.value().attr("name")?.to_owned(), e.value().attr("value")?.to_owned()));
        let fields = self.all(&selector, pair);
        assert!(!fields.is_empty(), "no card {n} in {}", self.body);
        fields
    }

    /// Where a redirect goes.
    pub fn location(&self) -> String {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        self.headers["location"].to_str().unwrap().to_owned()
    }

    /// What the message above the page says.
    pub fn flash(&self) -> String {
        self.texts(".flashes").join(" ")
    }

    /// How long the server took, as the answer itself says.
    pub fn milliseconds(&self) -> f64 {
        let timing = self.headers["server-timing"].to_str().unwrap();
        timing.rsplit_once("total;dur=").unwrap().1.parse().unwrap()
    }

    /// Statements and waits, as the answer itself says.
    pub fn timing(&self) -> (u32, u32) {
        let text = self.headers["server-timing"].to_str().unwrap();
        let number = |word: &str| -> u32 {
            let (head, _) = text.split_once(word).unwrap();
            head.trim_end().rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        (number("statements"), number("waits"))
    }
}
