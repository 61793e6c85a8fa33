import type { Target } from '@peftjs/core';
import type { DseeSettings } from './config.js';

/** Whether a target gets U, V and S₂. */
export const isUpdated = (target: Target, { roles }: DseeSettings): boolean =>
  roles.some((role) => role === target.role);

/** Whether S₁ is made at all. */
export const prunes = ({ ratio, updatedRatio }: DseeSettings): boolean => ratio > 0 || updatedRatio > 0;

export const scaleOf = ({ alpha, r }: DseeSettings): number => alpha / r;

/** Targets with one cut, and the part of their entries that goes. */
export interface Group<S> {
  readonly sites: readonly S[];
  readonly updated: boolean;
  readonly ratio: number;
}

/** Who shares a cut: weights with an update and the others, or every weight for itself. */
export function groupsOf<S extends { readonly target: Target; readonly c: DseeSettings }>(
  sites: readonly S[],
): Group<S>[] {
  const group = (own: readonly S[], updated: boolean): Group<S>[] => {
    if (own.length === 0) return [];
    const { scope, ratio, updatedRatio } = own[0]!.c;
    const cut = scope === 'global' ? [own] : own.map((site) => [site]);
    return cut.map((of) => ({ sites: of, updated, ratio: updated ? updatedRatio : ratio }));
  };
  const updated = sites.filter(({ target, c }) => isUpdated(target, c));
  return [
    ...group(updated, true),
    ...group(
      sites.filter((site) => !updated.includes(site)),
      false,
    ),
  ];
}

/** Entries that a group loses: round(ratio · entries), half to even as in torch. */
export function removedFrom({ sites, ratio }: Group<{ readonly target: Target }>): number {
  const exact = ratio * sites.reduce((sum, { target }) => sum + target.in * target.out, 0);
  const whole = Math.round(exact);
  return Math.abs(exact % 1) === 0.5 && whole % 2 === 1 ? whole - 1 : whole;
}
