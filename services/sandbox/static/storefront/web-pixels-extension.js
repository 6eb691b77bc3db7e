// Stands for Shopify's package of the same name, and does what that does.
export const register = (extend) => shopify.extend("WebPixel::Render", extend);
