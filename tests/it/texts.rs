//! Texts that people stumbled over, and that no page may say again.

use std::{fs, path::Path};

/// Anywhere in a template, a script or a source.
const GONE: &[&str] = &[
    "Move through ",
    "End the ride where you are",
    "These do not belong together",
    "not even we",
    "among those tried first",
    "Where do you leave it?",
    "on the map in colour",
    "Without your position, distance",
    "started minutes at",
    "No payment provider is attached",
    "not at this address any more",
    "There is nothing at this address",
    "not for that kind of request",
    "Too many tries",
    "Move home",
    "Pages are faster there",
    "End all others",
    "Put it on the street",
    "Also yours:",
    "There since",
    "Change the chosen",
    ">fenced<",
    "Back to the street",
    "What to do with it",
    "What is known",
    "Ask for the job",
    "Waits to be confirmed",
    "Sets {",
    "What left and what arrived",
    "Read the file",
    "empty takes it away",
    "costs this from",
    "The tariff will not come",
    "Rides of one rider",
    "Give a role",
    "Take away",
    "takes no changes from anybody",
    "Nothing here fits",
    "Lists as of",
    "We made a mistake, and it has been noted",
    "Keep these figures as a link",
    "Days are those of each city",
    "A change takes effect everywhere",
];

/// Only as the whole text of an element or a literal: such words are good in other sentences.
const GONE_ALONE: &[&str] = &["Over", "To come", "Of what", "of what", "Together", "well", "Fenced", "Takes off"];

/// The files that hold texts of pages; a test module may quote what is gone.
fn texts(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, found);
        } else if ["html", "rs", "js"].iter().any(|kind| path.extension().is_some_and(|of| of == *kind)) {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn said(text: &str) -> Vec<&'static str> {
    let alone = |word: &&&str| {
        let whole = [format!(">{word}<"), format!("\"{word}\"")];
        whole.iter().any(|whole| text.contains(whole))
    };
    GONE.iter().filter(|gone| text.contains(**gone)).chain(GONE_ALONE.iter().filter(alone)).copied().collect()
}

#[test]
fn no_page_says_what_people_stumbled_over() {
    let mut found = Vec::new();
    for folder in ["templates", "src"] {
        texts(Path::new(folder), &mut found);
    }
    found.push(("static/app.js".to_owned(), fs::read_to_string("static/app.js").unwrap()));
    assert!(found.len() > 100, "{} files", found.len());
    let again: Vec<_> =
        found.iter().map(|(file, text)| (file, said(text))).filter(|(_, said)| !said.is_empty()).collect();
    assert!(again.is_empty(), "{again:#?}");
    for gone in GONE {
        assert_eq!(said(&format!("<p>{gone}</p>")), [*gone]);
    }
    for gone in GONE_ALONE {
        assert_eq!((said(&format!("<dt>{gone}</dt>")), said(&format!("f(\"{gone}\")"))), (vec![*gone], vec![*gone]));
        assert!(said(&format!("<p>It is {gone} now.</p>")).is_empty());
    }
}
