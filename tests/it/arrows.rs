//! The layers: which folder of src may import which, read from the sources. A folder may import
//! only those above it in the table, so there is no circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Item, UseTree, visit::Visit};

/// A folder (or file) of src, and what it may import.
#[rustfmt::skip]
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config", "domain"]),
    ("local", &["config"]),
    ("db", &["clock", "config", "domain", "telemetry"]),
    ("ops", &["clock", "config", "db", "domain"]),
    ("worker", &["db", "domain", "ops"]),
    ("web", &["config", "db", "domain", "ops", "telemetry"]),
    ("server", &["config", "ops", "telemetry", "web", "worker"]),
    ("cli", &["clock", "config", "db", "domain", "local", "ops", "server", "telemetry", "web"]),
];

/// Every path of a file to a layer by `crate::` or `super::`, in macros as well, as its segments from there on; what is
/// for unit tests only does not count.
#[derive(Default)]
struct Imports(BTreeSet<Vec<String>>);

impl Imports {
    fn of(file: &Path) -> Self {
        let mut imports = Self::default();
        imports.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
        imports
    }

    fn add(&mut self, tree: &UseTree, before: &[String]) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(of) => {
                path.push(of.ident.to_string());
                self.add(&of.tree, &path);
            }
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.found(&path);
            }
            UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                self.found(&path);
            }
            UseTree::Glob(_) => self.found(&path),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add(tree, before)),
        }
    }

    fn found(&mut self, path: &[String]) {
        let rest: Vec<String> = path.iter().skip_while(|name| *name == "super").cloned().collect();
        let Some((first, inside)) = rest.split_first() else { return };
        if first == "crate" {
            self.0.insert(inside.to_vec());
        } else if rest.len() < path.len() && ARROWS.iter().any(|(layer, _)| layer == first) {
            self.0.insert(rest);
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item(&mut self, item: &'ast Item) {
        let for_tests = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "test")
        };
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !attributes.iter().any(for_tests) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found(&names);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let text = called.tokens.to_string().replace(' ', "");
        for root in ["crate", "super"] {
            for behind in text.split(&format!("{root}::")).skip(1) {
                let name = behind.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                self.found(&[root.to_owned(), name.to_owned()]);
            }
        }
    }
}

/// The files below `folder`, without those that hold unit tests only.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") && path.file_name().unwrap() != "tests.rs" {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_import_points_back() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut forbidden = BTreeSet::new();
    let mut seen = BTreeMap::<_, BTreeSet<_>>::new();
    for file in files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let from = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&from.as_str()) {
            continue;
        }
        let (_, allowed) =
            *ARROWS.iter().find(|(name, _)| *name == from).unwrap_or_else(|| panic!("{from} is no layer"));
        for to in Imports::of(&file).0.iter().filter_map(|path| path.first()) {
            seen.entry(from.clone()).or_default().insert(to.clone());
            if *to != from && !allowed.contains(&to.as_str()) {
                forbidden.insert(format!("{}: {from} -> {to}", inside.display()));
            }
        }
    }
    assert_eq!(forbidden, BTreeSet::new());
    for (at, (from, allowed)) in ARROWS.iter().enumerate() {
        let above: Vec<&str> = ARROWS[..at].iter().map(|(name, _)| *name).collect();
        for to in *allowed {
            assert!(above.contains(to), "{from} -> {to}: the table has a circle");
            assert!(seen[*from].contains(*to), "{from} -> {to}: nobody needs this arrow");
        }
    }
}
