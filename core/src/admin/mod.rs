//! The admin listener: health, readiness and metrics, on the control plane's own thread.
//!
//! hyper speaks the HTTP; nothing here touches a shard but to read its counters.

mod accounts;
mod io;
mod metrics;
mod status;

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

use io::GlommioIo;
pub(crate) use status::{ShardStatus, Status};

/// Admin connections open at once; beyond it a connection is closed at accept.
const CONNECTIONS: usize = 64;
/// How long one admin connection may live.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// How long an admin connection may say nothing.
const SILENCE: Duration = Duration::from_secs(20);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the admin listener for ever, on a glommio executor.
pub(crate) async fn serve(listener: glommio::net::TcpListener, status: Arc<Status>) {
    let open = Rc::new(Cell::new(0_usize));
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin accept failed");
                glommio::timer::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if open.get() >= CONNECTIONS {
            continue;
        }
        if let Err(error) = stream.set_read_timeout(Some(SILENCE)) {
            tracing::debug!(%error, "admin connection without a read time-out");
        }
        // Without it small answers wait for the peer's acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "admin connection without TCP_NODELAY");
        }
        open.set(open.get() + 1);
        let (open, status) = (open.clone(), status.clone());
        glommio::spawn_local(async move {
            let answer = service_fn(move |request| {
                let answer = route(&request, &status);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .max_buf_size(16 << 10)
                .serve_connection(GlommioIo::new(stream), answer);
            // A peer that misbehaves ends its own connection and nothing else.
            let life = glommio::timer::timeout(CONNECTION_LIFE, async {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "admin connection ended");
                }
                Ok(())
            });
            if life.await.is_err() {
                tracing::debug!("admin connection reached the end of its life");
            }
            open.set(open.get() - 1);
        })
        .detach();
    }
}

fn route(request: &Request<Incoming>, status: &Arc<Status>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/health" => {
            let (healthy, body) = status.health();
            json(
                if healthy {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                },
                body,
            )
        }
        "/ready" if status.is_ready() => text(StatusCode::OK, "ready\n"),
        "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/metrics" => with_type(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            metrics::render(status),
        ),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /health, /ready and /metrics\n",
        ),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, "application/json", body)
}

fn with_type(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
