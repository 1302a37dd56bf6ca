//! Which requests are answered: those of this server's own pages.

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::output::page::assets;

/// The header in which browsers say whether a page of another site has made a request.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SHARING: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Refuses what another site may have sent, and gives every answer the headers that keep others from
/// using it.
pub async fn guard(State(port): State<u16>, request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers(), port) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (SHARING, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = format!("{}; frame-ancestors 'none'", assets::policy(true));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Why a request is not answered.
fn refusal(method: &Method, headers: &HeaderMap, port: u16) -> Option<&'static str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let own = ["127.0.0.1", "localhost"].map(|host| format!("{host}:{port}"));
    if !text(&HOST).is_some_and(|host| own.iter().any(|own| own == host)) {
        return Some("this server has another name\n");
    }
    if text(&SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Some("another site's page may not ask here\n");
    }
    let origin = text(&ORIGIN);
    if origin.is_some_and(|origin| !own.iter().any(|own| origin == format!("http://{own}"))) {
        return Some("another site's page may not ask here\n");
    }
    // Browsers name the origin of every request that changes something.
    (method != Method::GET && origin.is_none()).then_some("only a page may change something here\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        refusal(&method, &headers.collect(), 4000).is_none()
    }

    #[test]
    fn only_own_pages_are_answered() {
        let host = ("host", "127.0.0.1:4000");
        assert!(answered(Method::GET, &[host]));
        assert!(answered(Method::GET, &[("host", "localhost:4000"), ("sec-fetch-site", "none")]));
        assert!(answered(Method::POST, &[host, ("origin", "http://127.0.0.1:4000")]));
        for headers in [
            // A name whose address is now 127.0.0.1.
            vec![("host", "evil.example:4000")],
            vec![("host", "127.0.0.1")],
            vec![("host", "127.0.0.1:4001")],
            vec![],
            vec![host, ("sec-fetch-site", "cross-site")],
            vec![host, ("sec-fetch-site", "same-site")],
            vec![host, ("origin", "https://evil.example")],
            vec![host, ("origin", "null")],
        ] {
            assert!(!answered(Method::GET, &headers), "{headers:?}");
        }
        assert!(!answered(Method::POST, &[host]));
    }
}
