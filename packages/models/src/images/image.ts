/** A picture: red, green and blue of every pixel, row by row from the top, 8 bits each. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

export const rgb = 3;
