// The app: one room, and the parts that stand in it.

import { bringing } from './app/bring.js';
import { elastic } from './app/elastic.js';
import { Filters } from './app/filters.js';
import { History } from './app/history.js';
import { Jobs } from './app/jobs.js';
import { keys } from './app/keys.js';
import { Ledger } from './app/ledger.js';
import { Mantel } from './app/mantel.js';
import { MapOfLibrary } from './app/map.js';
import { Network } from './app/network.js';
import { Room } from './app/room.js';
import { server } from './app/server.js';
import { Shelf } from './app/shelf.js';
import { storage } from './app/storage.js';
import { theme } from './app/theme.js';
import { Toasts } from './app/toast.js';
import { tools } from './app/tools.js';
import { Viewer } from './app/viewer.js';
import { Welcome } from './app/welcome.js';
import { Workshop } from './app/workshop.js';
import { parts } from './elements/sheet.js';
import { $ } from './lib/dom.js';

document.adoptedStyleSheets = [parts];

const network = new Network();
const toasts = new Toasts($('#toasts'));
const room = new Room(network);
const jobs = new Jobs($('#jobs'), room, toasts);
const ledger = new Ledger(network, room);
const history = new History();
const viewer = new Viewer($('#viewer'), room, toasts);
const filters = new Filters($('#filters'), room);
const bring = bringing(room, jobs, toasts);
const mantel = new Mantel(room, { filters, history, jobs, toasts, viewer });
new Shelf($('#shelf'), room, { bring, toasts, viewer });
const welcome = new Welcome($('#welcome'), room, { bring, history, mantel });
const map = new MapOfLibrary($('#map'), room, { viewer, question: mantel.input });
const workshop = new Workshop($('#workbench'), room, { network, toasts, question: mantel.input });
const greet = () => welcome.show(!mantel.text && !map.isOpen && !workshop.isOpen);
mantel.onidle = greet;
map.onturn = (open) => {
  if (open && workshop.isOpen) workshop.close();
  greet();
};
workshop.onturn = (open) => {
  if (open && map.isOpen) map.close();
  greet();
};
tools($('#tools'), room, {
  map: () => map.toggle(),
  workbench: () => workshop.toggle(),
  history: () => history.open(mantel),
  privacy: () => ledger.open(),
  elastic: () => elastic(room, toasts),
  server: () => server(room, network, toasts),
  storage: () => storage(room, bring, toasts),
  theme,
  help: () => keys.help(),
});
keys.listen({ mantel, map, viewer, workshop });

const sample = new URLSearchParams(location.search).has('sample');
welcome.expect(sample);

try {
  await network.ready();
  ledger.start();
  await room.open((event) => mantel.engine(event));
  mantel.ready();
  room.addEventListener('learn', () => mantel.learn());
  mantel.learn();
  if (sample && !room.cards.length) await bring.sample();
  welcome.expect(false);
  viewer.follow();
} catch (error) {
  mantel.broken(error);
}
