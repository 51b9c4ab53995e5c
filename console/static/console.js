// Small things that HTML alone cannot do: the CSRF token on htmx requests.
document.addEventListener("htmx:config:request", (event) => {
  const token = document.querySelector('meta[name="csrf-token"]');
  if (token && event.detail.ctx) event.detail.ctx.request.headers["X-CSRF-Token"] = token.content;
});
