/** What SYNAPSE's backend answers to `GET /integration/sync/status` and `POST /integration/sync/now`. */

export interface SyncRun {
  sync_id: string | null
  status: string | null
  outcome?: string | null
  completed_at?: string | null
  error?: string | null
}

export interface SyncRunning {
  sync_id: string | null
  status: string | null
  phase: string | null
  done: number | null
  total: number | null
}

export interface SyncStatus {
  last_sync: string | null
  running: SyncRunning | null
  last: SyncRun | null
  pending_conflicts: number
  health: string | null
  console: string
  may_start: boolean
}

/** The two calls. With SYNAPSE's own client: `{ status: () => apiClient.get('/integration/sync/status'), ... }`. */
export interface SyncApi {
  status: () => Promise<{ data: SyncStatus }>
  now: () => Promise<{ data: { run: SyncRun } }>
}

/** What the button shows. */
export type SyncView =
  | { kind: 'hidden' }
  | { kind: 'unknown' }
  | { kind: 'idle'; lastSync: string | null }
  | { kind: 'queued' }
  | { kind: 'running'; phase: string | null; done: number | null; total: number | null }
  | { kind: 'done'; lastSync: string | null }
  | { kind: 'waiting'; conflicts: number; console: string }
  | { kind: 'failed'; reason: string; console: string }
  | { kind: 'offline' }
