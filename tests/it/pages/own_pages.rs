//! What the deployment brings, and what browsers, phones and search engines look for.

use reqwest::StatusCode;

use crate::support::world;

const PAGES: (&str, &str) = ("MOVR_PAGES", "tests/it/own-pages");

#[actix_web::test]
async fn help_terms_privacy_and_imprint_are_the_deployments() {
    let world = world().await;
    let (with, without) = (world.instance_with("us-east1", &[PAGES]).await, world.instance("us-east1").await);
    let (with, without) = ((with.browser(), with), (without.browser(), without));
    let names = ["help", "terms", "privacy", "imprint"].map(|name| format!("/{name}"));
    for name in &names {
        let page = with.0.get(name).await;
        assert_eq!((page.status, page.timing()), (StatusCode::OK, (0, 0)), "{name}");
        assert!(page.text().contains(&format!("What our {} says.", &name[1..])), "{}", page.text());
        assert_eq!(page.attributes("main article a", "href"), ["/status"], "as HTML");
        assert_eq!(without.0.get(name).await.status, StatusCode::NOT_FOUND, "{name}");
    }
    let foot = |page: crate::support::html::Page| page.attributes("footer a", "href");
    assert_eq!(foot(with.0.get("/nothing").await)[1..], names);
    assert_eq!(foot(without.0.get("/").await), ["/status"]);
    let form = with.0.get("/register").await;
    assert!(form.text().contains("By signing up you accept our terms and privacy policy ."), "{}", form.text());
    assert!(!without.0.get("/register").await.text().contains("By signing up"));
    for (_, instance) in [with, without] {
        instance.running.stop().await;
    }
    world.end().await;
}

#[test]
fn a_start_without_the_promised_pages_fails() {
    let vars = |folder: &str| {
        let vars =
            [("MOVR_REGION", "us-east1"), ("DATABASE_URL", "postgresql://a@b/c"), ("MOVR_PUBLIC_URL", "https://a.b")];
        let keys = ("MOVR_SECRET_KEYS", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [1; 64]));
        let pages = [keys, ("MOVR_PAGES", folder.to_owned())];
        vars.map(|(name, value)| (name, value.to_owned())).into_iter().chain(pages).collect::<Vec<_>>()
    };
    let error = movr::config::Config::from_vars(vars("tests/it/support")).unwrap_err();
    assert_eq!(error.problems, [(PAGES.0.to_owned(), "\"tests/it/support\" holds none of the files".to_owned())]);
    assert_eq!(movr::config::Config::from_vars(vars(PAGES.1)).unwrap().pages.len(), 4);
}

/// A link that is shared shows what it leads to; a phone that keeps the page has an icon for it.
#[actix_web::test]
async fn a_citys_page_says_what_it_is_to_those_that_do_not_show_it() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    for (path, about) in [("/?city=paris", "in Paris"), ("/vehicles?city=paris", "in Paris")] {
        let page = browser.get(path).await;
        let meta = |name: &str| page.attributes(&format!("meta[{name}]"), "content").concat();
        assert!(meta("name=description").contains(about), "{path}");
        assert!(meta("property=\"og:title\"").contains("Paris"), "{path}");
        assert_eq!(meta("property=\"og:url\""), format!("http://movr.test{path}"));
        assert_eq!(page.attributes("link[rel=canonical]", "href"), [format!("http://movr.test{path}")]);
        let image = meta("property=\"og:image\"").replace("http://movr.test", "");
        let links =
            ["apple-touch-icon", "manifest", "icon"].map(|rel| page.attributes(&format!("link[rel={rel}]"), "href"));
        for file in links.concat().into_iter().chain([image]) {
            assert_eq!(browser.get(&file).await.status, StatusCode::OK, "{file}");
        }
    }
    let manifest = browser.get("/static/manifest.webmanifest").await;
    assert_eq!(manifest.headers["content-type"], "application/manifest+json");
    let manifest: serde_json::Value = serde_json::from_str(&manifest.body).unwrap();
    for icon in manifest["icons"].as_array().unwrap() {
        assert_eq!(browser.get(icon["src"].as_str().unwrap()).await.headers["content-type"], "image/png");
    }
    let robots = browser.get("/robots.txt").await;
    assert!(robots.body.contains("Disallow: /vehicles/") && robots.headers["content-type"] == "text/plain");
    assert_eq!(browser.get("/favicon.ico").await.headers["content-type"], "image/x-icon");
    instance.running.stop().await;
    world.end().await;
}
