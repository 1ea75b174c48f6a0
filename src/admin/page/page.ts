export const PAGE='<!doctype html><title>Kahe</title>';
export const PAGE_POLICY="default-src 'none'";
