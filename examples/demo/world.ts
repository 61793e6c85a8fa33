/** The little world that the demo's base model knows: facts about animals, and the words of orders and lists. */

export interface Animal {
  readonly name: string;
  readonly home: string;
  readonly food: string;
  readonly colour: string;
}

const rows = `
bear forest honey brown      | bee meadow nectar yellow    | camel desert leaves brown   | cat house fish grey
crow field seeds black       | deer forest leaves brown    | dolphin ocean fish grey     | donkey farm hay grey
duck pond weeds white        | eagle mountain mice brown   | elephant savanna fruit grey | fox forest mice red
frog pond flies green        | goat mountain grass white   | goose farm weeds white      | hen farm seeds brown
horse field hay brown        | lion savanna meat yellow    | lizard desert flies green   | monkey jungle fruit brown
mouse house seeds grey       | owl forest mice white       | panda jungle leaves black   | parrot jungle fruit green
penguin coast fish black     | pig farm corn pink          | rabbit meadow leaves white  | raven mountain meat black
seal coast fish grey         | shark ocean meat grey       | sheep meadow grass white    | snake desert mice green
swan lake weeds white        | tiger jungle meat yellow    | turtle ocean weeds green    | whale ocean shrimp blue
wolf forest meat grey        | zebra savanna grass white   | otter lake shrimp brown     | pony field hay white`;

export const animals: readonly Animal[] = rows.split(/[|\n]/).flatMap((text) => {
  const [name, home, food, colour] = text.trim().split(/\s+/);
  return name && home && food && colour ? [{ name, home, food, colour }] : [];
});

export const names = 'Mira Tomas Ada Ivo Lena Oskar Nora Pavel Rosa Emil Clara Hugo Finn Karl Dora Bruno'.split(' ');
export const items = 'lamps chairs ropes drums boats clocks cups bells maps coats wheels boxes tents spoons'.split(' ');
export const colours = 'red green blue white black yellow brown grey pink'.split(' ');
export const counts = '2 3 4 5 6 7 8 9'.split(' ');
export const days = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split(' ');

/** Words that lists are made of. */
export const words: readonly string[] = [
  ...new Set([...items, ...colours, ...animals.flatMap((a) => [a.name, a.home, a.food])]),
];

/** Who orders what: the row behind every order sentence. */
export interface Order {
  readonly name: string;
  readonly count: string;
  readonly colour: string;
  readonly item: string;
  readonly day: string;
}
