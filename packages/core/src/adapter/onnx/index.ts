export { attachOnnx } from './attach.js';
export { type SlotNames, slotNames } from './names.js';
export { findOnnxSites, type OnnxSite, type OnnxSites } from './sites.js';
export { addOnnxSlots, type OnnxSlot, type OnnxSlotOptions, slotFeeds } from './slots.js';
