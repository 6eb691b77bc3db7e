/** The extension's version: sent with every batch, so that the app knows which of them a shop runs. */
export const VERSION = "1.0.0";
