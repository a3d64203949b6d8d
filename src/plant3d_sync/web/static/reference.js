// Shows the API reference. The description comes from this service; nothing comes from elsewhere.
"use strict";
window.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("reference");
  window.SwaggerUIBundle({
    url: place.dataset.description,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: false,
    validatorUrl: null,
  });
});
