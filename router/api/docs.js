// Nothing from outside: no validator's badge, and no document but ours, whatever the page's address says.
SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#operations",
  deepLinking: true,
  defaultModelRendering: "model", // shows which fields are required; the example does not
  defaultModelExpandDepth: 2,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  queryConfigEnabled: false,
});
