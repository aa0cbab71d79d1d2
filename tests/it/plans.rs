//! The plans that a CockroachDB v22.1 made of every statement, recorded from a gateway in
//! europe-west1: each is judged to keep its reach, and to break it once one span, look-up
//! or inserted column is another. By file: statements may have changed since.

use std::collections::BTreeSet;

use movr::{
    cli::verify_locality::outcome,
    db::{
        all_statements,
        locality::{PlanVerdict, Schema, StatementCheck, cockroach, judge},
        statement::{Reach, Statement},
    },
};

const REGION: &str = "europe-west1";

/// A recorded statement: both forms of its plan, and what it declares.
struct Recording {
    name: &'static str,
    plain: String,
    verbose: String,
    reach: Reach,
}

fn recordings() -> Vec<Recording> {
    let read =
        |folder: &str, file: &str| std::fs::read_to_string(format!("tests/it/crdb-samples/{folder}/{file}")).unwrap();
    let files = std::fs::read_dir("tests/it/crdb-samples/plans").unwrap();
    let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let recording = |file: String| {
        let name: &str = file.strip_suffix(".txt").unwrap().to_owned().leak();
        let statement = all_statements().into_iter().find(|s| s.name == name);
        let reach = statement.unwrap_or_else(|| panic!("{name} is no statement any more")).reach;
        Recording { name, plain: read("plans", &file), verbose: read("plans-verbose", &file), reach }
    };
    files.into_iter().map(recording).collect()
}

impl Recording {
    /// The verdict on these plans, under a text that says nothing by itself.
    fn judged(&self, plain: &str, verbose: &str, reach: Reach) -> StatementCheck {
        let schema = Schema::of_migrations();
        // Some of them checked a city that stays, as they do no more.
        let statement = Statement::read(self.name, reach, "SELECT 1").reading_global("recorded");
        judge(&statement, &schema, &cockroach::accesses(plain, verbose, REGION, &schema))
    }

    /// The plans, each with one thing changed by which the statement would leave its reach.
    fn breaches(&self) -> Vec<(String, String, Reach)> {
        let mut changed = Vec::new();
        let lines: Vec<(usize, &str)> =
            self.plain.match_indices('\n').map(|(at, _)| line(&self.plain, at + 1)).collect();
        let mut table = "";
        for (at, said) in lines {
            table = if said.starts_with("• ") { "" } else { said.strip_prefix("table: ").unwrap_or(table) };
            if !said.starts_with("spans") || !regional(table) || self.reach == Reach::Global {
                continue;
            }
            let elsewhere = match said {
                "spans" | "spans: FULL SCAN" => "spans: FULL SCAN".to_owned(),
                spans => spans.replacen(REGION, "us-west1", 1),
            };
            changed.push((splice(&self.plain, at, said, &elsewhere), self.verbose.clone(), self.reach));
        }
        let lines: Vec<(usize, &str)> =
            self.verbose.match_indices('\n').map(|(at, _)| line(&self.verbose, at + 1)).collect();
        for (at, said) in lines {
            table = if said.starts_with("• ") { "" } else { said.strip_prefix("table: ").unwrap_or(table) };
            let (key, value) = said.split_once(": ").unwrap_or((said, ""));
            let elsewhere = match key {
                "into" if regional(value) => said.replacen("(region,", "(area,", 1),
                "equality" if regional(table) && value.contains("(region") => {
                    let (inner, looked_up) = said.rsplit_once(" = ").unwrap();
                    format!("{inner} = {}", looked_up.replacen("(region", "(area", 1))
                }
                "lookup condition" if regional(table) => said.replacen(REGION, "us-west1", 1),
                render if render.starts_with("render lookup_join_const_col") && value == format!("'{REGION}'") => {
                    // One that the condition of a look-up repeats is not looked up by.
                    let used = |line: &str| line.contains("equality: ") && line.contains(&render[7..]);
                    if self.verbose.lines().any(used) { format!("{key}: 'us-west1'") } else { continue }
                }
                _ => continue,
            };
            if elsewhere != said {
                changed.push((self.plain.clone(), splice(&self.verbose, at, said, &elsewhere), self.reach));
            }
        }
        match self.reach {
            Reach::AllRegions { .. } => changed.iter_mut().for_each(|(.., reach)| *reach = Reach::Named),
            Reach::Global => {
                let tables =
                    self.plain.match_indices("table: ").map(|(at, _)| self.plain[at + 7..].lines().next().unwrap());
                for table in tables.collect::<BTreeSet<_>>() {
                    let regional = |plan: &str| plan.replace(table, "events@events_pkey");
                    changed.push((regional(&self.plain), regional(&self.verbose), self.reach));
                }
            }
            Reach::Named | Reach::Stale => {}
        }
        if changed.is_empty() {
            // The values were such that no row could be meant.
            let scan = |plan: &str| plan.replace("• norows", "• scan\n table: events@events_pkey\n spans: FULL SCAN");
            changed.push((scan(&self.plain), scan(&self.verbose), self.reach));
        }
        changed
    }
}

/// Where the words of the line that begins at `at` stand, and the words.
fn line(plan: &str, at: usize) -> (usize, &str) {
    let whole = plan[at..].lines().next().unwrap_or_default();
    let said = whole.trim_start_matches(['│', '├', '└', '─', ' ']);
    (at + whole.len() - said.len(), said.trim_end())
}

fn splice(plan: &str, at: usize, old: &str, new: &str) -> String {
    format!("{}{new}{}", &plan[..at], &plan[at + old.len()..])
}

/// Whether `users@users_pkey` or `users(region, id)` is of a table with regions.
fn regional(access: &str) -> bool {
    let table = access.split(['@', '(']).next().unwrap_or_default();
    Schema::of_migrations().regional.get(table) == Some(&true)
}

#[test]
fn every_recorded_plan_keeps_its_reach_and_breaks_it_by_one_change() {
    let all = recordings();
    assert_eq!(all.len(), 100);
    let (mut changes, mut kinds) = (0, BTreeSet::new());
    for recording in &all {
        let Recording { name, plain, verbose, reach } = recording;
        let checked = recording.judged(plain, verbose, *reach);
        assert_eq!(checked.verdict, PlanVerdict::Ok, "{checked:#?}");
        let breaches = recording.breaches();
        for (plain, verbose, reach) in &breaches {
            let checked = recording.judged(plain, verbose, *reach);
            assert_eq!(checked.verdict, PlanVerdict::Breach, "{name}: {checked:#?}\n{plain}\n{verbose}");
            kinds.insert(checked.findings[0].split(' ').next().unwrap().to_owned());
        }
        changes += breaches.len();
    }
    assert!(changes > 400, "{changes} changes");
    eprintln!("{} plans ok, {changes} changes of them in breach", all.len());
}

#[test]
fn a_generated_name_that_nothing_explains_is_not_believed() {
    let all = recordings();
    let find = |name: &str| all.iter().find(|recording| recording.name == name).unwrap();
    let grant = find("roles.grant");
    for (plain, verbose) in [
        // Only one of the two forms.
        (grant.plain.as_str(), ""),
        // The other form is of another plan.
        (grant.plain.as_str(), find("users.insert").verbose.as_str()),
        // Another expression than a constant, a column or a choice of two.
        (&grant.plain, &grant.verbose.replace(&format!("col_@102: '{REGION}'"), "col_@102: f(x)")),
    ] {
        let checked = grant.judged(plain, verbose, Reach::Named);
        assert_eq!(checked.verdict, PlanVerdict::Unknown, "{checked:#?}");
        let error = outcome(&[&checked]).unwrap_err().to_string();
        assert_eq!(error, "not understood, so not proved: roles.grant");
    }
    // Spans that the plain form leaves out are read in the encoded one.
    let hidden = all.iter().find(|recording| recording.plain.contains(" … (")).unwrap();
    let encoded = hidden.verbose.replacen(r#"/"\xc0"/"amsterdam"/"retired"#, r#"/"\x80"/"amsterdam"/"retired"#, 1);
    assert_ne!(encoded, hidden.verbose);
    assert_eq!(hidden.judged(&hidden.plain, &encoded, hidden.reach).verdict, PlanVerdict::Unknown);
    // Reading every region on purpose is kept whatever the spans are.
    let everywhere = Reach::AllRegions { why: "the whole database is checked" };
    assert_eq!(hidden.judged(&hidden.plain, &encoded, everywhere).verdict, PlanVerdict::Ok);
}
